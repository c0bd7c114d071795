//! Cleanup, and the search for what it should have removed.

use super::*;

const TRACES: &[&str] = &[
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/home/a b/.ssh/authorized_keys",
    "/root/.bash_history",
    "/var/lib/cloud/instances/i-1/user-data.txt",
    "/var/lib/dbus/machine-id",
    "/var/log/audit/audit.log",
    "/var/log/cloud-init-output.log",
];

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n";

#[test]
fn cleanup_removes_traces_and_the_inspector_agrees() {
    let directory = Directory::new();
    for path in TRACES {
        directory.write(path, KEY);
    }
    directory.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    directory.write("/var/lib/cloud/scripts/per-boot/mine", "#!/bin/sh\n");
    let before = inspect(&directory, Timestamp::UNIX_EPOCH);
    assert!(before.done && before.manifest.is_none());
    assert_eq!(
        before
            .findings
            .iter()
            .filter(|finding| finding.rule != Rule::Item(CleanupItem::PrivateKeys))
            .count(),
        TRACES.len() + 1
    );

    build(&directory, &[step("only", "true")], &[]);
    for path in TRACES {
        assert_eq!(directory.read(path), None, "{path}");
    }
    assert_eq!(
        directory.read("/etc/machine-id").as_deref(),
        Some(""),
        "emptied, not removed"
    );
    assert!(
        directory.read("/var/lib/cloud/scripts/per-boot/mine").is_some(),
        "not state"
    );
    let after = inspect(&directory, Timestamp::UNIX_EPOCH);
    assert_eq!(paths(&after.findings), [""; 0]);
    let manifest = after.manifest.unwrap();
    assert_eq!(manifest.build, 7);
    assert_eq!(paths(&manifest.findings), [""; 0], "what cleanup removes is no finding");
}

#[test]
fn skipped_items_stay_and_are_reported() {
    let directory = Directory::new();
    for path in TRACES {
        directory.write(path, "x\n");
    }
    build(
        &directory,
        &[step("only", "true")],
        &[CleanupItem::ShellHistory, CleanupItem::SshHostKeys],
    );
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    let mut found = paths(&report.findings);
    found.sort();
    let expected = [
        "ShellHistory /root/.bash_history",
        "SshHostKeys /etc/ssh/ssh_host_rsa_key",
        "SshHostKeys /etc/ssh/ssh_host_rsa_key.pub",
    ];
    assert_eq!(found, expected);
    let manifest = directory.read("/etc/goldsmith/image.json").unwrap();
    assert!(
        manifest.contains(r#""skipped":["ShellHistory","SshHostKeys"]"#),
        "{manifest}"
    );
}

#[test]
fn secrets_are_found_by_name_and_by_content_and_are_not_removed() {
    let directory = Directory::new();
    let secrets = [
        ("PrivateKeys", "/root/.ssh/id_rsa", "anything"),
        (
            "PrivateKeys",
            "/srv/tls/server.key",
            "text\n-----BEGIN RSA PRIVATE KEY-----\nAAAA\n",
        ),
        ("PrivateKeys", "/srv/plain.pem", "-----BEGIN PRIVATE KEY-----\n"),
        ("Credentials", "/home/a/.aws/credentials", "[default]\n"),
        ("Credentials", "/srv/one", "key AKIAABCDEFGHIJKLMNOP end\n"),
        (
            "Credentials",
            "/srv/two \"q\" 'p'",
            "aws_secret_access_key = abcdefghijklmnopqrstuvwxyz0123456789ABCD\n",
        ),
        (
            "Credentials",
            "/srv/three",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789\n",
        ),
        (
            "Credentials",
            "/root/.docker/config.json",
            "{\"auths\": {\"r\": {\"auth\": \"dXNlcjpwYXNzd29yZA==\"}}}",
        ),
    ];
    let innocent = [
        ("/srv/sample", "AKIAIOSFODNN7EXAMPLE"),
        ("/srv/public.pem", "-----BEGIN PUBLIC KEY-----\n"),
        ("/usr/share/doc/x/key.pem", KEY),
        ("/opt/app/site-packages/tests/key.pem", KEY),
        ("/root/.ssh/known_hosts", "host ssh-rsa AAAA\n"),
    ];
    for (path, content) in secrets
        .iter()
        .map(|(_, path, content)| (path, content))
        .chain(innocent.iter().map(|(p, c)| (p, c)))
    {
        directory.write(path, content);
    }
    directory.write("/srv/large", &format!("{KEY}{}", "x".repeat(70_000)));
    let mut expected: Vec<_> = secrets.iter().map(|(item, path, _)| format!("{item} {path}")).collect();
    expected.sort();

    build(&directory, &[step("only", "true")], &[]);
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    for findings in [report.findings, report.manifest.unwrap().findings] {
        let mut found = paths(&findings);
        found.sort();
        assert_eq!(found, expected);
    }
    // A file that the source image had already is known by its name alone.
    let report = inspect(&directory, Timestamp::constant(4_000_000_000, 0));
    assert_eq!(
        paths(&report.findings),
        ["Credentials /home/a/.aws/credentials", "PrivateKeys /root/.ssh/id_rsa"]
    );
}

#[test]
fn many_traces_hide_no_secret_and_many_secrets_no_trace() {
    let directory = Directory::new();
    for number in 0..60 {
        directory.write(&format!("/var/log/{number}.log"), "text\n");
    }
    directory.write("/root/.ssh/id_rsa", "anything");
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    let found = paths(&report.findings);
    assert_eq!(found.first().map(String::as_str), Some("PrivateKeys /root/.ssh/id_rsa"));
    assert_eq!(found.len(), 51);

    for number in 0..60 {
        directory.write(&format!("/srv/{number}.key"), KEY);
    }
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    let traces = report
        .findings
        .iter()
        .filter(|finding| finding.rule == Rule::Item(CleanupItem::Logs));
    assert_eq!((report.findings.len(), traces.count()), (100, 50));
}

/// They would push the manifest out of its room, and the manifest off the console.
#[test]
fn long_names_of_secrets_leave_room_for_what_else_is_told() {
    let directory = Directory::new();
    // As long as names of files can be.
    let deep = "n".repeat(255) + "/";
    for number in 0..60 {
        directory.write(&format!("/srv/{}{number}.key", deep.repeat(10)), KEY);
    }
    let ran = directory.run(&builder(&[step("only", "true")], &[]), "");
    assert!(BuilderReport::new(&parse(&ran, NONCE)).finished);
    directory.write("/var/log/last.log", "text\n");
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    let manifest = report.manifest.expect("it is told");
    assert!(!manifest.findings.is_empty());
    assert!(paths(&report.findings).contains(&"Logs /var/log/last.log".to_owned()));
}

#[test]
fn a_line_break_in_a_name_hides_nothing_and_says_nothing() {
    let directory = Directory::new();
    directory.write("/home/a\nb/.ssh/id_rsa", "anything");
    directory.write("/srv/of\nit", KEY);
    directory.write("/srv/to\nken", "ghp_abcdefghijklmnopqrstuvwxyz0123456789\n");
    directory.write("/srv/bell\u{7}\u{1b}[2J", KEY);
    directory.write("/srv/innocent\n", "nothing\n");
    directory.write("/srv/sample\n", "AKIAIOSFODNN7EXAMPLE\n");
    directory.write("/home/a\nb/.bash_history", "ls\n");
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    let mut found = paths(&report.findings);
    found.sort();
    let expected = [
        "Credentials /srv/to?ken",
        "PrivateKeys /home/a?b/.ssh/id_rsa",
        "PrivateKeys /srv/bell??[2J",
        "PrivateKeys /srv/of?it",
        "ShellHistory /home/a?b/.bash_history",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_inspector_follows_no_link_out_of_the_volume() {
    let directory = Directory::new();
    let outside = directory.0.join("outside");
    fs::create_dir_all(outside.join("goldsmith")).unwrap();
    fs::write(outside.join("id_rsa"), KEY).unwrap();
    fs::write(outside.join("goldsmith/image.json"), "{}").unwrap();
    fs::create_dir_all(directory.0.join("root/root")).unwrap();
    std::os::unix::fs::symlink(&outside, directory.0.join("root/root/.ssh")).unwrap();
    std::os::unix::fs::symlink(outside.join("goldsmith"), directory.0.join("root/etc/goldsmith")).unwrap();
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    assert!(report.done && report.manifest.is_none());
    assert_eq!(paths(&report.findings), [""; 0]);
}

#[test]
fn what_a_recipe_names_beside_the_rules_is_removed_and_looked_for() {
    let directory = Directory::new();
    let cleanup = Cleanup {
        extra_paths: vec!["/opt/app/cache".into(), "/srv/it's".into(), "/not/there".into()],
        ..Cleanup::default()
    };
    for path in [
        "/opt/app/cache/a/b",
        "/opt/app/cache/.hidden",
        "/opt/app/cached",
        "/srv/it's",
    ] {
        directory.write(path, "x");
    }
    fs::create_dir_all(directory.0.join("root/opt/app/cache/empty")).unwrap();
    let before = inspect_for(&directory, Timestamp::UNIX_EPOCH, &cleanup);
    let mut found = paths(&before.findings);
    found.sort();
    let expected = [
        "ExtraPath /opt/app/cache/.hidden",
        "ExtraPath /opt/app/cache/a/b",
        "ExtraPath /srv/it's",
    ];
    assert_eq!(found, expected);
    directory.run(&builder_of(&[step("only", "true")], &cleanup), "");
    assert!(!directory.0.join("root/opt/app/cache").exists());
    assert!(directory.read("/opt/app/cached").is_some(), "no part of a name");
    let after = inspect_for(&directory, Timestamp::UNIX_EPOCH, &cleanup);
    assert_eq!(paths(&after.findings), [""; 0]);
}

#[test]
fn what_a_recipe_forbids_is_found_wherever_credentials_are() {
    let directory = Directory::new();
    let cleanup = Cleanup {
        forbidden_content: vec!["internal[.]example [0-9]{2}".into(), "^it's \"(here|there)\"$".into()],
        ..Cleanup::default()
    };
    directory.write("/srv/one", "at internal.example 42 EXAMPLE\n");
    directory.write("/srv/two", "a\nit's \"there\"\n");
    directory.write("/srv/innocent", "internal-example 42, it's \"there\"\n");
    directory.write("/usr/share/doc/x", "internal.example 42\n");
    let expected = ["ForbiddenContent /srv/one", "ForbiddenContent /srv/two"];
    directory.run(&builder_of(&[step("only", "true")], &cleanup), "");
    let report = inspect_for(&directory, Timestamp::UNIX_EPOCH, &cleanup);
    assert_eq!(paths(&report.findings), expected);
    assert_eq!(paths(&report.manifest.unwrap().findings), expected);
}

/// With an expression that grep refuses it would find nothing at all.
#[test]
fn an_expression_that_grep_does_not_take_hides_no_secret() {
    let directory = Directory::new();
    directory.write("/root/key", KEY);
    let cleanup = Cleanup {
        forbidden_content: vec!["fine".into(), "a(b".into()],
        ..Cleanup::default()
    };
    let ran = directory.run(&builder_of(&[step("only", "true")], &cleanup), "");
    let report = BuilderReport::new(&parse(&ran, NONCE));
    assert!(report.failure.is_some_and(|why| why.contains("a(b")));
    assert!(report.steps.is_empty());
    let inspected = inspect_for(&directory, Timestamp::UNIX_EPOCH, &cleanup);
    assert!(inspected.failure.is_some_and(|why| why.contains("a(b")));
}

/// A file may hold both; what is skipped must not hide what is not.
#[test]
fn what_a_recipe_skips_hides_nothing_that_it_adds() {
    let directory = Directory::new();
    let cleanup = Cleanup {
        skip: vec![CleanupItem::Credentials, CleanupItem::Logs],
        extra_paths: vec!["/var/log/app".into()],
        forbidden_content: vec!["internal[.]example".into()],
    };
    directory.write(
        "/srv/both",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789 internal.example\n",
    );
    directory.write("/var/log/app/one", "x\n");
    let report = inspect_for(&directory, Timestamp::UNIX_EPOCH, &cleanup);
    let mut found = paths(&report.findings);
    found.sort();
    assert_eq!(found, ["ExtraPath /var/log/app/one", "ForbiddenContent /srv/both"]);
    directory.run(&builder_of(&[step("only", "true")], &cleanup), "");
    assert_eq!(directory.read("/var/log/app/one"), None);
}

/// Each rule has its place in what is told: what is let pass must not use it up.
#[test]
fn many_findings_of_one_rule_hide_no_other() {
    let cleanup = Cleanup {
        extra_paths: vec!["/opt/cache".into()],
        forbidden_content: vec!["internal[.]example".into()],
        ..Cleanup::default()
    };
    let directory = Directory::new();
    let long = "n".repeat(200);
    for number in 0..60 {
        directory.write(&format!("/home/{number}/{long}/.aws/credentials"), "anything");
        directory.write(&format!("/var/log/{long}/{number}.log"), "text\n");
    }
    for (path, content) in [
        ("/zz/.ssh/id_rsa", "anything"),
        ("/zz/hint", "see internal.example\n"),
        ("/zz/.ssh/authorized_keys", "anything"),
        ("/etc/ssh/ssh_host_rsa_key", "anything"),
        ("/opt/cache/one", "x"),
    ] {
        directory.write(path, content);
    }
    let report = inspect_for(&directory, Timestamp::UNIX_EPOCH, &cleanup);
    let told = paths(&report.findings);
    for wanted in [
        "PrivateKeys /zz/.ssh/id_rsa",
        "ForbiddenContent /zz/hint",
        "AuthorizedKeys /zz/.ssh/authorized_keys",
        "SshHostKeys /etc/ssh/ssh_host_rsa_key",
        "ExtraPath /opt/cache/one",
    ] {
        assert!(told.iter().any(|path| path == wanted), "{wanted} is not in {told:?}");
    }
    directory.run(&builder_of(&[step("only", "true")], &cleanup), "");
    let manifest = directory.read("/etc/goldsmith/image.json").unwrap();
    for wanted in ["/zz/.ssh/id_rsa", "/zz/hint"] {
        assert!(manifest.contains(wanted), "{wanted} is not in {manifest}");
    }
}

/// A shell can make names that are longer than any call takes; not every find goes so deep.
#[test]
fn a_name_longer_than_a_line_of_the_report_hides_nothing() {
    let directory = Directory::new();
    directory.write("/zz/.ssh/id_rsa", "anything");
    let name = "d".repeat(200);
    let deep = format!(
        "cd {}/root && for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do \
             mkdir {name} && cd {name}; done && mkdir .aws && cd .aws && echo anything >credentials",
        directory.0.display()
    );
    assert!(Command::new("bash").args(["-c", &deep]).status().unwrap().success());
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    let told = paths(&report.findings);
    assert!(told.contains(&"PrivateKeys /zz/.ssh/id_rsa".to_owned()), "{told:?}");
    let _ = Command::new("rm")
        .arg("-rf")
        .arg(directory.0.join("root").join(name))
        .status();
}

/// As where memory is short: what comes after it is searched all the same, and what was not is told.
#[test]
fn a_search_that_fails_passes_for_nothing() {
    let directory = Directory::new();
    directory.write("/srv/key", KEY);
    directory.write("/srv/zz", "text\n");
    let cleanup = Cleanup {
        forbidden_content: vec!["a(b".into()],
        ..Cleanup::default()
    };
    // Taken for a good expression, so that grep fails in the middle of the search.
    let taken = "unknown() { :; }";
    let report = inspect_with(&directory, Timestamp::UNIX_EPOCH, &cleanup, taken);
    assert!(paths(&report.findings).contains(&"PrivateKeys /srv/key".to_owned()));
    assert_eq!(report.failure.as_deref(), Some("could not be searched: /srv/zz"));

    let console = directory.run(&builder_of(&[step("only", "true")], &cleanup), taken);
    let report = BuilderReport::new(&parse(&console, NONCE));
    assert!(
        report
            .failure
            .is_some_and(|why| why.contains("could not be searched for secrets: /srv/zz"))
    );
    assert!(!report.finished);
}

#[test]
fn what_is_reached_by_a_link_alone_is_not_removed() {
    let directory = Directory::new();
    directory.write("/efs/app/cache/data", "of others");
    directory.write("/var/cache/keep", "x");
    std::os::unix::fs::symlink("../../efs/app", directory.0.join("root/var/cache/app")).unwrap();
    let cleanup = Cleanup {
        extra_paths: vec!["/var/cache/app/cache".into()],
        ..Cleanup::default()
    };
    directory.run(&builder_of(&[step("only", "true")], &cleanup), "");
    assert_eq!(directory.read("/efs/app/cache/data").as_deref(), Some("of others"));
}

/// What one forbids must be something that one can change: the manifest names the recipe, its steps and its files.
#[test]
fn what_goldsmith_writes_itself_is_not_forbidden() {
    let directory = Directory::new();
    let cleanup = Cleanup {
        forbidden_content: vec!["platform".into()],
        ..Cleanup::default()
    };
    directory.run(&builder_of(&[step("only", "true")], &cleanup), "");
    assert!(
        directory
            .read("/etc/goldsmith/image.json")
            .unwrap()
            .contains("platform")
    );
    directory.write("/srv/hint", "of the platform\n");
    let report = inspect_for(&directory, Timestamp::UNIX_EPOCH, &cleanup);
    assert_eq!(paths(&report.findings), ["ForbiddenContent /srv/hint"]);
}
