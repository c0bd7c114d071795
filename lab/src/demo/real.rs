//! The first point of the story where guests are real: the image is made of Debian 12, by machines that boot.

use goldsmith_lab::{Error, Result};

use super::recipe::Recipe;
use super::story::{Story, typed};

const MANIFEST: &str = "examples/debian-12/web.yaml";
/// As much of a console as is shown.
const CONSOLE_LINES: usize = 5;
/// Between two looks at it; each takes a second of the processor from the machine.
const LISTEN_SECONDS: f64 = 12.0;

impl Story<'_> {
    pub fn tell_of_machines(&self) -> Result<()> {
        self.start_controller()?;
        self.terminal.progress(&format!("there is {}", self.lab.debian()?));
        let mut phases = Phases::default();
        self.a_machine_runs_the_steps(&mut phases)?;
        self.two_machines_prove_the_image(&mut phases)?;
        self.terminal.heading("3. What EC2 has at the end");
        let inventory = self.nothing_is_left()?;
        self.claim("one build made one image", inventory.images() == 1)?;
        self.terminal.heading("How long it took");
        self.terminal.output(&phases.to_text());
        self.terminal
            .heading("To go on with recipes of your own: eval \"$(make -s up GUESTS=real)\"");
        Ok(())
    }

    fn a_machine_runs_the_steps(&self, phases: &mut Phases) -> Result<()> {
        self.terminal
            .heading("1. A machine boots Debian 12, runs the steps and powers off; its disk becomes an image");
        self.kubectl(&["apply", "--filename", MANIFEST])?;
        self.follow_phases("is built", phases, |web| web.phase() == "Proving")?;
        self.show_console("builder")?;
        let output = r"jsonpath={.data.output\.3-enable}";
        self.kubectl(&["get", "configmap", "web-build-1", "--output", output])
    }

    fn two_machines_prove_the_image(&self, phases: &mut Phases) -> Result<()> {
        self.terminal
            .heading("2. One machine boots the image and is checked, another one reads its snapshot");
        let web = self.follow_phases("is ready", phases, Recipe::at_rest)?;
        self.show_console("test")?;
        self.image_is_proven(&web)?;
        let seconds = web.boot_seconds().unwrap_or_default();
        self.claim(
            &format!("from the launch of its machine to the last check passed it took {seconds:.1} s"),
            seconds > 0.0,
        )
    }

    /// Also tells from time to time what the machine says that boots. The first failure ends the story: another attempt
    /// takes minutes, too.
    fn follow_phases(&self, wanted: &str, phases: &mut Phases, is: impl Fn(&Recipe) -> bool) -> Result<Recipe> {
        let mut listened = self.terminal.seconds();
        let mut heard = String::new();
        let web = self.follow("web", wanted, |web| {
            let now = self.terminal.seconds();
            phases.see(web.phase(), now);
            if let Some((role, machine)) = web.machine()
                && now >= listened + LISTEN_SECONDS
            {
                listened = now;
                // Whether EC2 answers is for the controller to judge here.
                let lines = self.console(machine).unwrap_or_default();
                let line = lines.last().map_or("nothing yet", String::as_str);
                if heard != line {
                    self.terminal.progress(&format!("{role} {machine} says: {line}"));
                    line.clone_into(&mut heard);
                }
            }
            is(web) || web.failure().is_some()
        })?;
        match web.failure() {
            Some(failure) => Err(Error::Unexpected(format!("web has failed: {failure}"))),
            None => Ok(web),
        }
    }

    /// Shows the end of what the machine of a role has said.
    fn show_console(&self, role: &str) -> Result<()> {
        let filter = format!("Name=tag:goldsmith.dev/role,Values={role}");
        let machine = self.aws(
            &["describe-instances", "--filters", &filter],
            "Reservations[].Instances[].InstanceId",
        )?;
        let command = typed("aws", &console_output(machine.trim()));
        self.terminal
            .command(&format!("{command} | {FOR_PEOPLE} | tail -n {CONSOLE_LINES}"));
        let lines = self.console(machine.trim())?;
        let shown = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
        self.terminal.output(&shown.join("\n"));
        Ok(())
    }

    fn console(&self, machine: &str) -> Result<Vec<String>> {
        let console = self.lab.aws(&console_output(machine))?;
        Ok(console.lines().filter_map(for_people).collect())
    }
}

/// As [`for_people`] does it.
const FOR_PEOPLE: &str =
    "sed 's/[[:cntrl:]]//g' | grep -v -e '^ *$' -e '^None$' -e @goldsmith1 -e '+--' -e '^|' -e ']: |' -e ci-info:";

/// A console's line as a person may see it: without what a terminal would obey, and none that is the controller's, nor one of
/// the tables and key art of cloud-init.
fn for_people(line: &str) -> Option<String> {
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let line = line.trim_end_matches(' ');
    // The aws CLI calls what is not there None.
    let nothing = matches!(line, "" | "None");
    // Also behind what the journal puts before it.
    let drawn = line.contains("+--") || line.starts_with('|') || line.contains("]: |");
    let not_theirs = nothing || drawn || line.contains("@goldsmith1") || line.contains("ci-info:");
    (!not_theirs).then(|| line.to_owned())
}

/// What asks for a machine's console.
fn console_output(machine: &str) -> [&str; 9] {
    [
        "ec2",
        "get-console-output",
        "--latest",
        "--instance-id",
        machine,
        "--query",
        "Output",
        "--output",
        "text",
    ]
}

/// When each phase of a build was first seen, in seconds since the story began.
#[derive(Default)]
struct Phases(Vec<(String, f64)>);

impl Phases {
    fn see(&mut self, phase: &str, seconds: f64) {
        let last = self.0.last().map_or("", |(phase, _)| phase.as_str());
        if last != phase {
            self.0.push((phase.to_owned(), seconds));
        }
    }

    /// A line for each, and how long it took.
    fn to_text(&self) -> String {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        let lines = pairs.map(|((phase, began), (_, ended))| format!("{:5.1} s  {phase}\n", ended - began));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_the_command_shows_is_what_is_shown() {
        let console = "\u{1b}c[  OK  ] Started ssh\u{7}\r\n\r\n   \nNone\n None of it\n@goldsmith1 step\n+---[RSA 3072]----+\n\
                       | .o+  |\n[ 5.1] cloud-init[2]: +--[SHA256]--+\n[ 5.1] cloud-init[2]: | o |\nci-info: no keys\n+ done\na|b\nx\n";
        let shown: Vec<String> = console.lines().filter_map(for_people).collect();
        let expected = ["c[  OK  ] Started ssh", " None of it", "+ done", "a|b", "x"];
        assert_eq!(shown, expected);
        let mut command = Command::new("sh")
            .args(["-c", FOR_PEOPLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut input = command.stdin.take().expect("it is piped");
        input.write_all(console.as_bytes()).expect("it reads");
        drop(input);
        let output = command.wait_with_output().expect("it ends");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(),
            expected
        );
    }
}
