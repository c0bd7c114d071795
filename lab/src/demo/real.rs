//! The first point of the story where guests are real: the image is made of Debian 12, by machines that boot.

use goldsmith_lab::{DEBIAN, Error, Result};

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
        self.debian_is_there()?;
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

    fn debian_is_there(&self) -> Result<()> {
        let (owner, name) = DEBIAN;
        let filter = format!("Name=name,Values={name}");
        let found = self.aws(
            &["describe-images", "--owners", owner, "--filters", &filter],
            "Images[].[ImageId,Name]",
        )?;
        match found.trim().is_empty() {
            true => Err(Error::Unexpected(
                "the disk of Debian 12 is not there: make tools GUESTS=real".into(),
            )),
            false => Ok(()),
        }
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
            if let Some(machine) = web.machine()
                && now >= listened + LISTEN_SECONDS
            {
                listened = now;
                // Whether EC2 answers is for the controller to judge here.
                let lines = self.console(machine).unwrap_or_default();
                let line = lines.last().map_or("nothing yet", String::as_str);
                if heard != line {
                    self.terminal.progress(&format!("{machine} says: {line}"));
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
        self.terminal.command(&format!(
            "{command} | grep -v -e @goldsmith1 -e '^.\\?$' | tail -n {CONSOLE_LINES}"
        ));
        let lines = self.console(machine.trim())?;
        let shown = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
        self.terminal.output(&shown.join("\n"));
        Ok(())
    }

    /// The lines that are for people; the others are the controller's.
    fn console(&self, machine: &str) -> Result<Vec<String>> {
        let console = self.lab.aws(&console_output(machine))?;
        let lines = console.lines().map(str::trim_end);
        // The aws CLI calls what is not there None.
        let lines = lines.filter(|line| !matches!(*line, "" | "None") && !line.contains("@goldsmith1"));
        Ok(lines.map(str::to_owned).collect())
    }
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
