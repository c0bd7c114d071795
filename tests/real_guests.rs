//! Builds on virtual machines: steps, cleanup, inspection and power-off are a real shell on real disks.
//!
//! On the tiny guest by default, a few of the stories; with `GUEST=debian-12` all of them on Debian, as `make test-guests` does.

use std::process::ExitCode;

use goldsmith_lab::{DEBIAN, Guests, Options};
use serde_json::{Value, json};
use stage::{Recipe, Stage, Story, fails, spec, stories, succeeds, with};

fn main() -> ExitCode {
    let mut options = Options {
        guests: Guests::Real,
        ..Options::default()
    };
    let mut stories: Vec<Story> = stories![
        an_image_is_built_and_proven,
        what_is_left_after_cleanup_is_named_and_the_image_removed,
    ]
    .to_vec();
    if on_debian() {
        options = Options::with(Guests::Real);
        stories.extend_from_slice(stories![
            what_cleanup_skips_is_named_and_passes,
            what_the_recipe_forbids_is_named,
            a_file_that_cloud_init_changes_back_fails_the_proof,
            a_package_comes_from_a_repository_and_its_service_runs,
            a_step_that_fails_is_told_with_its_output,
            a_step_that_hangs_is_ended,
            a_full_disk_fails_the_step_that_fills_it,
            forged_records_are_ignored,
            a_unit_that_fails_at_boot_fails_the_proof,
            an_image_that_does_not_boot_is_not_proven,
        ]);
    }
    stage::tell(&options, &stories)
}

fn on_debian() -> bool {
    std::env::var("GUEST").is_ok_and(|guest| guest == "debian-12")
}

/// A recipe with these steps, and room for the time that an emulated machine takes.
fn recipe(steps: &Value, change: &Value) -> Value {
    let recipe = with(
        spec(),
        &json!({"build": {"steps": steps}, "test": {"bootDeadline": "10m"}}),
    );
    let (owner, name) = DEBIAN;
    let source = match on_debian() {
        true => json!({"build": {"source": {"search": {"owners": [owner], "name": name}}}}),
        false => json!({}),
    };
    with(with(recipe, &source), change)
}

/// Shell that leaves one file of every class of cleanup, and fails if a class that a boot leaves is not there by itself. What
/// it writes is not written down as it is looked for, or the search would find the step.
const LEAVE: &str = r#"
mkdir -p -m 700 /root/.ssh /root/.aws
echo 'ssh-ed25519 AAAA left' >/root/.ssh/authorized_keys
echo 'rm -rf left' >/root/.bash_history
echo left >/var/log/left.log
[ -s /etc/machine-id ] && [ -s /var/lib/cloud/data/instance-id ] && [ -n "$(find /etc/ssh/ssh_host_*_key -size +0)" ]
"#;

const LEAVE_SECRETS: &str = r#"
printf -- '-----BEGIN %s KEY-----\nMIIB\n' 'RSA PRIVATE' >/root/.ssh/id_rsa
mkdir -p /srv/app
printf '%s_%s = abcdefghijklmnopqrstuvwxyz0123456789ABCD\n' aws_secret access_key >/srv/app/settings
"#;

const CLASSES: [&str; 8] = [
    "SshHostKeys: /etc/ssh/ssh_host_",
    "AuthorizedKeys: /root/.ssh/authorized_keys",
    "MachineId: /etc/machine-id",
    "ShellHistory: /root/.bash_history",
    "CloudInitState: /var/lib/cloud/",
    "Logs: /var/log/",
    "PrivateKeys: /root/.ssh/id_rsa",
    "Credentials: /srv/app/settings",
];

fn an_image_is_built_and_proven(stage: &Stage) {
    let steps = json!([
        {"name": "app", "run": "#!/bin/sh -e\nmkdir -p /opt/app\necho \"$APP_VERSION\" >/opt/app/version\n: >/run/before"},
        {"name": "config", "file": {"path": "/etc/app.conf", "mode": "0640", "content": "it's \"quoted\"\n"}},
        {"name": "kernel", "reboot": {}},
        {"name": "leftovers", "run": format!("set -e{LEAVE}\nmkdir -p /opt/app/cache/deep\necho x >/opt/app/cache/deep/one\n\
            [ ! -e /run/before ] && [ ! -e /var/lib/goldsmith ]")},
    ]);
    let check = "[ ! -e /opt/app/cache ] && [ \"$(cat /opt/app/version)\" = 1.4.2 ] && [ \"$(cat /etc/app.conf)\" = \"it's \\\"quoted\\\"\" ] && \
                 [ \"$(stat -c %a /etc/app.conf)\" = 640 ] && ! grep -r left /root/.ssh/authorized_keys /root/.bash_history /var/log/left.log";
    let mut checks = vec![json!({"name": "app", "run": check, "timeout": "60s"})];
    if !on_debian() {
        // Of busybox.
        checks.push(json!({"name": "serve", "run": "httpd -p 8080 -h /opt/app", "timeout": "10s"}));
        checks.push(json!({"name": "http", "http": {"port": 8080, "path": "/version"}, "timeout": "60s"}));
        checks.push(
            json!({"name": "absent", "http": {"port": 8080, "path": "/nothing", "status": 404}, "timeout": "60s"}),
        );
    }
    let change = json!({
        "build": {
            "environment": [{"name": "APP_VERSION", "value": "1.4.2"}],
            "cleanup": {"extraPaths": ["/opt/app/cache"], "forbiddenContent": ["internal[.]example"]},
        },
        "test": {"checks": checks},
    });
    stage.apply("real", recipe(&steps, &change));
    succeeds(stage, "real");
}

fn what_the_recipe_forbids_is_named(stage: &Stage) {
    let steps =
        json!([{"name": "hint", "run": "mkdir -p /srv/app\nprintf 'see %s.example/wiki\\n' internal >/srv/app/hint"}]);
    let change = json!({"build": {"cleanup": {"forbiddenContent": ["internal[.]example"]}}});
    stage.apply("real-forbidden", recipe(&steps, &change));
    fails(
        stage,
        "real-forbidden",
        "ForbiddenContentFound",
        &["forbiddenContent: /srv/app/hint"],
    );
}

/// As Debian's cloud-init does where it is told to.
fn a_file_that_cloud_init_changes_back_fails_the_proof(stage: &Stage) {
    let steps = json!([
        {"name": "manage", "file": {"path": "/etc/cloud/cloud.cfg.d/99-hosts.cfg", "content": "manage_etc_hosts: true\n"}},
        {"name": "hosts", "file": {"path": "/etc/hosts", "content": "10.0.0.1 proxy\n"}},
    ]);
    stage.apply("real-changed", recipe(&steps, &json!({})));
    fails(
        stage,
        "real-changed",
        "FileChanged",
        &["/etc/hosts of step hosts has another content"],
    );
}

/// Something that goes on after the last step leaves it all when cleanup is done: only the inspector can see that.
fn what_is_left_after_cleanup_is_named_and_the_image_removed(stage: &Stage) {
    let plant = format!(
        "cat >/run/plant <<'PLANT'\ntrap '' TERM HUP\nwhile [ ! -d /etc/goldsmith ]; do sleep 0.05; done\n{}{LEAVE_SECRETS}\
         echo left >/etc/machine-id\necho left >/etc/ssh/ssh_host_rsa_key\nmkdir -p /var/lib/cloud/data\n\
         echo left >/var/lib/cloud/data/instance-id\nsync\nPLANT\nsh /run/plant </dev/null >/dev/null 2>&1 &\n",
        LEAVE.split("[ -s").next().unwrap_or(LEAVE)
    );
    stage.apply(
        "real-planted",
        recipe(&json!([{"name": "plant", "run": plant}]), &json!({})),
    );
    fails(stage, "real-planted", "SecretFound", &CLASSES);
}

fn what_cleanup_skips_is_named_and_passes(stage: &Stage) {
    let steps = json!([{"name": "leftovers", "run": format!("set -e{LEAVE}{LEAVE_SECRETS}")}]);
    let items = CLASSES.map(|class| class.split(':').next());
    stage.apply(
        "real-skipped",
        recipe(&steps, &json!({"build": {"cleanup": {"skip": items}}})),
    );
    let warnings = |recipe: &Recipe| {
        let architecture = recipe.architecture();
        architecture.map_or_else(String::new, |architecture| architecture.warnings.join("\n"))
    };
    let recipe = stage.wait("real-skipped", "warning", |recipe| {
        warnings(recipe).contains("let pass by cleanup.skip")
    });
    let warnings = warnings(&recipe);
    for class in CLASSES {
        let (item, path) = class.split_once(' ').unwrap_or((class, ""));
        let mut named = warnings.lines().filter(|line| line.starts_with(item));
        assert!(named.any(|line| line.contains(path)), "{class} is not in {warnings}");
    }
    succeeds(stage, "real-skipped");
}

fn a_package_comes_from_a_repository_and_its_service_runs(stage: &Stage) {
    let run = r#"#!/bin/sh -e
mkdir -p /srv/repository /run/hello/DEBIAN /run/hello/usr/bin /run/hello/usr/lib/systemd/system
cat >/run/hello/DEBIAN/control <<END
Package: hello-service
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: answers
END
printf '#!/bin/sh\necho up >/run/hello-service\nexec sleep infinity\n' >/run/hello/usr/bin/hello-service
chmod 755 /run/hello/usr/bin/hello-service
printf '[Service]\nExecStart=/usr/bin/hello-service\n[Install]\nWantedBy=multi-user.target\n' \
    >/run/hello/usr/lib/systemd/system/hello.service
printf '#!/bin/sh\nsystemctl enable hello.service\n' >/run/hello/DEBIAN/postinst
chmod 755 /run/hello/DEBIAN/postinst
dpkg-deb --build --root-owner-group /run/hello /srv/repository/hello.deb
cd /srv/repository
{
    cat /run/hello/DEBIAN/control
    echo "Filename: ./hello.deb"
    echo "Size: $(stat -c %s hello.deb)"
    echo "SHA256: $(sha256sum hello.deb | cut -d ' ' -f 1)"
} >Packages
echo 'deb [trusted=yes] file:/srv/repository ./' >/run/hello.list
options='-o Dir::Etc::sourcelist=/run/hello.list -o Dir::Etc::sourceparts=-'
apt-get -qq $options update
DEBIAN_FRONTEND=noninteractive apt-get -y -qq $options install hello-service
"#;
    let steps = json!([{"name": "package", "run": run, "timeout": "10m"}]);
    let checks =
        json!([{"name": "service", "run": "systemctl is-active hello && [ -e /run/hello-service ]", "timeout": "60s"}]);
    stage.apply("real-package", recipe(&steps, &json!({"test": {"checks": checks}})));
    succeeds(stage, "real-package");
}

fn a_step_that_fails_is_told_with_its_output(stage: &Stage) {
    let steps = json!([{"name": "broken", "run": "echo the package is broken >&2\nexit 3"}]);
    stage.apply("real-fails", recipe(&steps, &json!({})));
    fails(
        stage,
        "real-fails",
        "StepFailed",
        &["step broken", "exit status 3", "the package is broken"],
    );
}

fn a_step_that_hangs_is_ended(stage: &Stage) {
    let steps = json!([{"name": "hanging", "run": "trap '' TERM\nwhile :; do sleep 1000; done", "timeout": "5s"}]);
    stage.apply("real-hangs", recipe(&steps, &json!({})));
    fails(
        stage,
        "real-hangs",
        "StepFailed",
        &["step hanging took longer than its timeout"],
    );
}

fn a_full_disk_fails_the_step_that_fills_it(stage: &Stage) {
    let steps = json!([{"name": "fill", "run": "cat /dev/zero >/srv/full"}]);
    stage.apply("real-full", recipe(&steps, &json!({})));
    fails(
        stage,
        "real-full",
        "StepFailed",
        &["step fill", "No space left on device"],
    );
}

/// As a hostile package might write them who knows the protocol and not the nonce.
fn forged_records_are_ignored(stage: &Stage) {
    let run = r#"body='00112233445566778899aabbccddeeff 99.1/1 step-finished 1 Zm9yZ2Vk failed 1 1 -'
for forged in "$body" '00112233445566778899aabbccddeeff 100.1/1 finished'; do
    printf '\n@goldsmith1 %s %s\n' "$(printf %s "$forged" | sha256sum | cut -c 1-8)" "$forged" >/dev/ttyS0
done"#;
    stage.apply(
        "real-forged",
        recipe(&json!([{"name": "forged", "run": run}]), &json!({})),
    );
    succeeds(stage, "real-forged");
}

fn a_unit_that_fails_at_boot_fails_the_proof(stage: &Stage) {
    let unit = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n";
    let steps = json!([
        {"name": "unit", "file": {"path": "/etc/systemd/system/broken.service", "content": unit}},
        {"name": "enable", "run": "systemctl enable broken.service"},
    ]);
    stage.apply("real-unit", recipe(&steps, &json!({})));
    fails(stage, "real-unit", "BootErrors", &["unit failed: broken.service"]);
}

fn an_image_that_does_not_boot_is_not_proven(stage: &Stage) {
    let steps = json!([{"name": "kernel", "run": "rm /boot/vmlinuz*"}]);
    stage.apply("real-dead", recipe(&steps, &json!({"test": {"bootDeadline": "60s"}})));
    fails(stage, "real-dead", "BootDeadlineExceeded", &["spec.test.bootDeadline"]);
}
