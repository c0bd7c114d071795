//! Packer, which nobody here wrote, builds images on the simulator by itself: without and with virtual machines.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use goldsmith_lab::{Directory, Guests, REGION, Simulator, tools, until};
use serde_json::{Value, json};

/// Several times what an emulated machine takes to boot and to say something.
const PATIENCE: Duration = Duration::from_secs(200);

/// A simulator of its own, and Packer beside it.
struct Stage {
    simulator: Simulator,
    directory: Directory,
}

impl Stage {
    fn set(guests: Guests) -> Self {
        let directory = Directory::create().expect("a directory");
        let simulator = Simulator::start(&directory, 0.02, guests).expect("a simulator");
        Self { simulator, directory }
    }

    /// `packer build` of the one template there is.
    fn packer(&self, variables: &[(&str, &str)]) -> Output {
        let endpoint = [("endpoint", self.simulator.url.as_str())];
        let variables = endpoint.iter().chain(variables);
        let mut command = Command::new("packer");
        command.args(["build", "-color=false"]);
        for (name, value) in variables {
            command.args(["-var", &format!("{name}={value}")]);
        }
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packer/image.json"))
            .current_dir(self.directory.path())
            .envs(self.environment())
            // Seconds between two looks of Packer, and how many there are.
            .envs([("AWS_POLL_DELAY_SECONDS", "1"), ("AWS_MAX_ATTEMPTS", "300")])
            // It would ask for news of itself, and leave them at home.
            .envs([("CHECKPOINT_DISABLE", "1")])
            .env("HOME", self.directory.path());
        command
            .output()
            .expect("Packer starts; where it is missing, `make tools` installs the Debian package packer")
    }

    /// With nothing of whose machine it is.
    fn environment(&self) -> impl Iterator<Item = (&'static str, String)> {
        let alone = [
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_PAGER", ""),
        ];
        let alone = alone.map(|(name, value)| (name, value.to_owned()));
        self.simulator.environment().into_iter().chain(alone)
    }

    /// What the aws CLI prints for `aws ec2 ...`, as JSON.
    fn aws(&self, region: &str, arguments: &[&str]) -> Value {
        let output = Command::new(tools::python("aws").expect("the aws CLI"))
            .args(["ec2", "--output", "json", "--region", region])
            .args(arguments)
            .envs(self.environment())
            .output()
            .expect("the aws CLI runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("the aws CLI prints JSON")
    }

    /// The image of a name, once Packer has ended.
    fn image(&self, region: &str, name: &str) -> Value {
        let filter = format!("Name=name,Values={name}");
        let images = self.aws(region, &["describe-images", "--owners", "self", "--filters", &filter]);
        assert_eq!(
            images["Images"].as_array().map(Vec::len),
            Some(1),
            "{name} in {region}: {images}"
        );
        images["Images"][0].clone()
    }

    fn journal(&self) -> Vec<Value> {
        let journal = self.simulator.get("journal").expect("the journal");
        journal.as_array().expect("calls").clone()
    }

    /// Every call that was refused, and why, but for the first looks at an instance that EC2 does not show yet: Packer expects these.
    fn refused(&self) -> Vec<String> {
        let journal = self.journal();
        let refused = journal.iter().filter(|call| call["outcome"] != "Success");
        let unseen =
            |call: &&Value| call["operation"] == "DescribeInstances" && call["outcome"] == "InvalidInstanceID.NotFound";
        refused.filter(|call| !unseen(call)).map(Value::to_string).collect()
    }

    /// Of what Packer makes for a build, and of what comes with it, nothing is left but images and their snapshots.
    fn nothing_temporary_is_left(&self) {
        let inventory = self.simulator.get("inventory").expect("the inventory");
        for region in inventory.as_object().expect("regions").values() {
            assert_eq!((&region["instances"], &region["volumes"]), (&json!([]), &json!([])));
        }
        let packers = "Name=key-name,Values=packer*";
        let keys = self.aws(REGION, &["describe-key-pairs", "--filters", packers]);
        assert_eq!(keys["KeyPairs"], json!([]));
        let packers = "Name=group-name,Values=packer*";
        let groups = self.aws(REGION, &["describe-security-groups", "--filters", packers]);
        assert_eq!(groups["SecurityGroups"], json!([]));
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

#[test]
fn packer_builds_an_image_and_a_copy_and_leaves_nothing_behind() {
    let stage = Stage::set(Guests::Scripted);
    succeeds(&stage.packer(&[("name", "packed-1"), ("copied_to", "eu-west-1")]));
    for region in [REGION, "eu-west-1"] {
        let image = stage.image(region, "packed-1");
        assert_eq!(image["State"], "available");
        let tags = image["Tags"].as_array().expect("tags");
        for tag in [
            json!({"Key": "team", "Value": "web"}),
            json!({"Key": "source", "Value": "ami-0a200300000000001"}),
        ] {
            assert!(tags.contains(&tag), "{tag} in {region}: {image}");
        }
        let root = &image["BlockDeviceMappings"][0]["Ebs"];
        assert_eq!((&root["VolumeSize"], &root["VolumeType"]), (&json!(10), &json!("gp3")));
        let id = root["SnapshotId"].as_str().expect("a snapshot");
        let snapshots = stage.aws(region, &["describe-snapshots", "--snapshot-ids", id]);
        let tags = snapshots["Snapshots"][0]["Tags"].as_array().expect("tags");
        assert!(tags.contains(&json!({"Key": "team", "Value": "web"})), "{snapshots}");
        let image_id = image["ImageId"].as_str().expect("an id");
        let attribute = [
            "describe-image-attribute",
            "--attribute",
            "launchPermission",
            "--image-id",
            image_id,
        ];
        let permissions = stage.aws(region, &attribute);
        assert_eq!(permissions["LaunchPermissions"], json!([{"UserId": "210987654321"}]));
    }
    let description = "Built by Packer of al2023-ami-2023.9.20261101.0-kernel-6.1-x86_64";
    assert_eq!(stage.image(REGION, "packed-1")["Description"], description);
    assert_eq!(stage.refused(), Vec::<String>::new());
    stage.nothing_temporary_is_left();
}

#[test]
fn packer_says_by_which_image_a_name_is_taken_before_it_makes_anything() {
    let stage = Stage::set(Guests::Scripted);
    let output = stage.packer(&[("name", "base-2026-10-01")]);
    assert!(!output.status.success());
    let expected = "AMI Name: 'base-2026-10-01' is used by an existing AMI: ami-0b100100000000001";
    assert!(text(&output).contains(expected), "{}", text(&output));
    let made = |call: &&Value| call["made"].as_array().is_some_and(|made| !made.is_empty());
    assert_eq!(stage.journal().iter().find(made), None);
}

#[test]
fn what_packer_builds_on_a_virtual_machine_boots_with_what_the_build_wrote() {
    let stage = Stage::set(Guests::Real);
    succeeds(&stage.packer(&[("name", "packed-real"), ("stops_itself", "true")]));
    assert_eq!(stage.refused(), Vec::<String>::new());
    stage.nothing_temporary_is_left();

    let image = stage.image(REGION, "packed-real");
    let image_id = image["ImageId"].as_str().expect("an id");
    let says = "#!/bin/sh\necho \"@@ $(cat /opt/app/built-with)\" >/dev/ttyS0\n";
    let launch = [
        "run-instances",
        "--instance-type",
        "m7i.large",
        "--image-id",
        image_id,
        "--user-data",
        says,
    ];
    let launched = stage.aws(REGION, &launch);
    let instance = launched["Instances"][0]["InstanceId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let console = ["get-console-output", "--latest", "--instance-id", &instance];
    let line = until(PATIENCE, || {
        let output = stage.aws(REGION, &console);
        let output = output["Output"].as_str().unwrap_or_default().to_owned();
        let line = output.lines().find(|line| line.contains("@@ ")).map(str::to_owned);
        line.ok_or(output)
    })
    .expect("it says what it finds on its disk");

    let journal = stage.journal();
    let made = journal
        .iter()
        .find(|call| call["operation"] == "CreateKeyPair")
        .expect("a key pair");
    let name = made["parameters"]["KeyName"].as_str().expect("a name");
    let (start, end) = (format!("@@ 0={name} openssh-key ssh-rsa AAAA"), format!(" {name}"));
    assert!(line.contains(&start) && line.trim_end().ends_with(&end), "{line}");
}
