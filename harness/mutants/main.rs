//! Plants one fault after the other into a copy of the tree and sees whether the harness finds it: `make mutants`.
//!
//! A mutant that no plan finds is a hole in the harness, so the end is an error unless the table says why it may survive.
//!
//! Arguments: names of mutants, all of them if there is none; `plans=TEXT` carries out only the plans whose name has that text.

mod table;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use table::{Mutant, mutants};

/// All plans take a quarter of it on two processors that have nothing else to do.
const LONGEST: Duration = Duration::from_mins(30);

fn main() -> ExitCode {
    let (filters, wanted): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("plans="));
    let filters: Vec<&str> = filters
        .iter()
        .filter_map(|filter| filter.strip_prefix("plans="))
        .collect();
    match run(&wanted, &filters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What became of a mutant.
enum Fate {
    /// The plan, and what was wrong.
    Caught(String, String),
    Survived,
}

/// Whether every mutant of these names, or every one if none is named, has the fate that the table says.
fn run(wanted: &[String], filters: &[&str]) -> Result<bool, String> {
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !mutants().any(|mutant| mutant.name == **name))
    {
        let names: Vec<&str> = mutants().map(|mutant| mutant.name).collect();
        return Err(format!("there is no mutant {unknown}; there are {}", names.join(", ")));
    }
    let source = tree()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| source.join("target"), PathBuf::from);
    let copy = target.join("mutants");
    let copied = Instant::now();
    copy_tree(&source, &copy)?;
    println!(
        "the tree is in {} ({:.1?}); without a mutant:",
        copy.display(),
        copied.elapsed()
    );
    let without = copy.join("plans-without-a-mutant");
    fs::copy(build(&copy, &target)?, &without).map_err(|error| format!("{}: {error}", without.display()))?;
    if let Fate::Caught(plan, wrong) = plans(&copy, &without, &["undisturbed"])? {
        return Err(format!("the tree fails as it is, in {plan}: {wrong}"));
    }
    let chosen: Vec<&Mutant> = mutants()
        .filter(|mutant| wanted.is_empty() || wanted.iter().any(|name| name == mutant.name))
        .collect();
    let (mut lines, mut as_said) = (Vec::new(), true);
    for (number, mutant) in (1..).zip(&chosen) {
        let began = Instant::now();
        plant(mutant, &source, &copy)?;
        let fate = build(&copy, &target).and_then(|program| fate(mutant, &copy, &program, filters));
        restore(mutant, &source, &copy)?;
        let fate = fate.map_err(|why| format!("{}: {why}", mutant.name))?;
        if let Fate::Caught(plan, _) = &fate
            && !is_green(&copy, &without, plan)?
        {
            return Err(format!("{plan}, which finds {}, fails without it, too", mutant.name));
        }
        let line = match (fate, mutant.survives) {
            (Fate::Caught(plan, wrong), None) => format!("| {} | {plan} | {wrong} |", mutant.name),
            (Fate::Survived, Some(why)) => format!("| {} | SURVIVED, as listed | {why} |", mutant.name),
            (Fate::Caught(plan, wrong), Some(_)) => {
                as_said = false;
                format!(
                    "| {} | {plan} | {wrong}: no survivor any more, take its reason out of the table |",
                    mutant.name
                )
            }
            (Fate::Survived, None) => {
                as_said = false;
                format!("| {} | SURVIVED | {} |", mutant.name, mutant.fault)
            }
        };
        println!("{number} of {}, {:.0?}: {line}", chosen.len(), began.elapsed());
        lines.push(line);
    }
    println!(
        "\n| mutant | caught by | what was wrong |\n| --- | --- | --- |\n{}",
        lines.join("\n")
    );
    Ok(as_said)
}

/// Those plans that find it soonest first; all of them, or those that `filters` choose, where these do not.
fn fate(mutant: &Mutant, copy: &Path, program: &Path, filters: &[&str]) -> Result<Fate, String> {
    if filters.is_empty() {
        let caught = plans(copy, program, &[mutant.plans])?;
        if matches!(caught, Fate::Caught(..)) {
            return Ok(caught);
        }
        println!("{}: {} does not find it; all plans:", mutant.name, mutant.plans);
    }
    plans(copy, program, filters)
}

/// Whether a plan ends well without a mutant.
fn is_green(copy: &Path, without: &Path, plan: &str) -> Result<bool, String> {
    let answer = Command::new(without)
        .current_dir(copy)
        .env("PLAN", plan)
        .output()
        .map_err(|error| format!("{}: {error}", without.display()))?;
    Ok(answer.status.success())
}

/// The root of the repository that the command is called in. Not where it was compiled: a copy's build leaves its own in the same place.
fn tree() -> Result<PathBuf, String> {
    let answer = Command::new("git")
        .args(["rev-parse", "--show-toplevel"])
        .output()
        .map_err(|error| format!("git rev-parse: {error}"))?;
    let root = String::from_utf8_lossy(&answer.stdout).trim_end().to_owned();
    match answer.status.success() && !root.is_empty() {
        true => Ok(PathBuf::from(root)),
        false => Err("this is no clone of the repository; call it in one".to_owned()),
    }
}

/// Copies what git knows or would add. Files that are there and the same stay untouched, so that cargo compiles only what a mutant
/// changes. The copy is of another version: its own crates are built beside those of the working tree, and what they depend on is
/// taken from there.
fn copy_tree(source: &Path, copy: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(source)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in names
        .split('\0')
        .filter(|name| !name.is_empty() && *name != "Cargo.lock")
    {
        // Deleted, and git still knows it.
        let Ok(bytes) = fs::read(source.join(name)) else {
            continue;
        };
        write(&copy.join(name), &as_mutant(name, bytes))?;
    }
    // Cargo writes the version into it.
    let lock = fs::read(source.join("Cargo.lock")).map_err(|error| format!("Cargo.lock: {error}"))?;
    write(&copy.join("Cargo.lock"), &lock)?;
    for folder in ["src", "simulator", "harness", "lab", "tests"] {
        forget(&copy.join(folder), source, copy)?;
    }
    Ok(())
}

/// Removes what is in a folder of the copy and not in the tree any more.
fn forget(folder: &Path, source: &Path, copy: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let there = path.strip_prefix(copy).is_ok_and(|name| source.join(name).exists());
        match (there, path.is_dir()) {
            (true, true) => forget(&path, source, copy)?,
            (true, false) => {}
            (false, true) => fs::remove_dir_all(&path).map_err(told)?,
            (false, false) => fs::remove_file(&path).map_err(told)?,
        }
    }
    Ok(())
}

fn as_mutant(name: &str, bytes: Vec<u8>) -> Vec<u8> {
    if name != "Cargo.toml" {
        return bytes;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines = text.lines().map(|line| match line.strip_prefix("version = \"") {
        Some(rest) => format!("version = \"{}-mutant\"\n", rest.trim_end_matches('"')),
        None => format!("{line}\n"),
    });
    lines.collect::<String>().into_bytes()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, bytes));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// The files that a mutant changes, as it makes them.
fn planted(mutant: &Mutant, source: &Path) -> Result<Vec<(&'static str, String)>, String> {
    let mut files: Vec<(&'static str, String)> = Vec::new();
    for (file, before, after) in mutant.edits {
        let text = match files.iter().position(|(name, _)| name == file) {
            Some(index) => files.swap_remove(index).1,
            None => fs::read_to_string(source.join(file)).map_err(|error| format!("{file}: {error}"))?,
        };
        let found = text.matches(before).count();
        if found != 1 {
            return Err(format!(
                "mutant {}: {file} has {found} times what it changes, expected once; correct harness/mutants/table/:\n{before}",
                mutant.name
            ));
        }
        files.push((file, text.replacen(before, after, 1)));
    }
    Ok(files)
}

fn plant(mutant: &Mutant, source: &Path, copy: &Path) -> Result<(), String> {
    for (file, text) in planted(mutant, source)? {
        write(&copy.join(file), text.as_bytes())?;
    }
    Ok(())
}

fn restore(mutant: &Mutant, source: &Path, copy: &Path) -> Result<(), String> {
    for (file, _, _) in mutant.edits {
        let bytes = fs::read(source.join(file)).map_err(|error| format!("{file}: {error}"))?;
        write(&copy.join(file), &bytes)?;
    }
    Ok(())
}

/// Builds the copy; the program that carries its plans out.
fn build(copy: &Path, target: &Path) -> Result<PathBuf, String> {
    // The whole workspace, so that what it depends on has the features that it is built with anyway.
    let built = Command::new("cargo")
        .args(["test", "--workspace", "--test", "plans", "--no-run"])
        // Most mutants are found by the first plans: the compiler's time counts more than theirs.
        .args(["--config", "profile.dev.package.goldsmith.opt-level=0"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&built.stderr);
    let program = said.lines().find_map(|line| {
        line.trim()
            .strip_prefix("Executable tests/plans.rs (")?
            .strip_suffix(')')
    });
    match program.filter(|_| built.status.success()) {
        Some(program) => Ok(copy.join(program)),
        None => Err(format!("it cannot be built:\n{said}")),
    }
}

/// Carries plans out, to the first that fails.
fn plans(copy: &Path, program: &Path, arguments: &[&str]) -> Result<Fate, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(copy)
        .env("FIRST_FAILURE", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let output = child.stdout.take().ok_or("the plans say nothing")?;
    let lines = thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).collect::<Vec<_>>());
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break Some(status),
            None if began.elapsed() > LONGEST => {
                child
                    .kill()
                    .and_then(|()| child.wait())
                    .map_err(|error| error.to_string())?;
                break None;
            }
            None => thread::sleep(Duration::from_millis(200)),
        }
    };
    let lines = lines.join().map_err(|_| "the plans' output cannot be read")?;
    if lines.iter().any(|line| line == "running 0 tests") {
        return Err(format!("no plan's name has {arguments:?}"));
    }
    match status {
        // Every plan ends; this machine is too slow to say more.
        None => Err(format!("the plans do not end within {LONGEST:?}")),
        Some(status) if status.success() => Ok(Fate::Survived),
        Some(status) => {
            let mut lines = lines.iter().skip_while(|line| !line.starts_with("plan "));
            let plan = lines.next().and_then(|line| line.strip_prefix("plan "));
            let plan = plan.and_then(|line| line.split(':').next()).unwrap_or_default();
            let wrong: String = lines.next().map_or("", |line| line.trim()).chars().take(160).collect();
            match plan.is_empty() || wrong.is_empty() {
                true => Err(format!(
                    "the plans have ended with {status}, and none of them has failed"
                )),
                false => Ok(Fate::Caught(plan.to_owned(), wrong)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mutant_still_has_its_place_in_the_tree() {
        let tree = tree().unwrap();
        let problems: Vec<String> = mutants().filter_map(|mutant| planted(mutant, &tree).err()).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn the_page_on_the_judge_says_which_rule_each_mutant_has_broken() {
        let page = include_str!("../../docs/decisions/0015-what-the-harness-is-judged-by.md");
        let rows = page.lines().filter(|line| line.starts_with("| "));
        let columns = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
        let told: BTreeSet<&str> = columns.flat_map(|text| text.split('`').skip(1).step_by(2)).collect();
        let planted: BTreeSet<&str> = mutants().map(|mutant| mutant.name).collect();
        let differ: Vec<_> = told.symmetric_difference(&planted).collect();
        assert!(
            differ.is_empty(),
            "on the page or in the table, and not on both: {differ:?}"
        );
    }

    #[test]
    fn a_copy_has_a_version_of_its_own() {
        let text = as_mutant("Cargo.toml", b"[package]\nversion = \"0.1.0\"\nname = \"x\"\n".to_vec());
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "[package]\nversion = \"0.1.0-mutant\"\nname = \"x\"\n"
        );
    }
}
