//! A world just large enough for one recipe.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{ImageRecipe, ImageRecipeStatus, ImageSearch};
use jiff::Timestamp;

use crate::recipe::config_map::Malformed;
use crate::recipe::decide::decide;
use crate::recipe::observation::{Observation, interests};
use crate::recipe::plan::{Effect, Plan, Removal};
use crate::recipe::record::BuildRecord;
use crate::recipe::report::{Made, Outcomes, report};
use crate::recipe::seal::SealKeys;
use crate::world::*;

pub const RECIPE: &str = r#"
apiVersion: goldsmith.dev/v1alpha1
kind: ImageRecipe
metadata: {name: web, namespace: platform, uid: 6a4a0f9e-0000-4000-8000-000000000001, generation: 1}
spec:
  region: eu-central-1
  build:
    source: {search: {owners: [amazon], name: "base-{{arch}}"}}
    builder:
      instanceTypes: [m7i.large, m6i.large]
      subnets: {ids: [subnet-0a, subnet-0b]}
      securityGroupIds: [sg-0a]
    steps:
      - {name: packages, run: "true"}
      - {name: site, file: {path: /etc/site, content: hello}}
  test: {checks: [{name: up, run: "true"}], bootDeadline: 5m}
  image: {name: "{{recipe}}-v{{build}}", tags: {team: platform}}
  failureLimit: 2
"#;

pub struct SmallWorld {
    pub recipe: ImageRecipe,
    pub view: View,
    pub records: Vec<BuildRecord>,
    pub consoles: BTreeMap<InstanceId, String>,
    pub now: Timestamp,
    pub policy: AccountPolicy,
    /// The configuration does not know the recipe's account.
    pub no_account: bool,
    /// Every effect that was carried out, in order.
    pub journal: Vec<Effect>,
    /// The step that fails, with its output.
    pub failing_step: Option<(&'static str, &'static str)>,
    /// What the inspector finds: an item and a path.
    pub finding: Option<(&'static str, &'static str)>,
    pub check_fails: bool,
    /// Whether consoles show nothing, as they do for a while after something was written.
    pub consoles_lag: bool,
    /// How EC2 refuses to show them.
    pub consoles_refused: Option<ErrorClass>,
    /// How many of its records a builder's console shows.
    pub console_ends_after: Option<usize>,
    /// A step that the builder speaks of, and the recipe does not.
    pub foreign_step: Option<&'static str>,
    pub sealed_before: Vec<i64>,
    /// What CreateVolume has answered with, by client token.
    pub volume_tokens: BTreeMap<String, VolumeId>,
    pub keys: SealKeys,
    pub unreadable: Vec<Malformed>,
    pub foreign_numbers: Vec<i64>,
    /// Kubernetes does not let the controller at the records.
    pub records_denied: bool,
    /// Errors that the next effects of that operation meet.
    pub refusals: Vec<(&'static str, ErrorClass)>,
    /// When the last whole pass wants to look again.
    pub look_again: Duration,
    serial: u32,
}

impl SmallWorld {
    pub fn new() -> Self {
        let recipe: ImageRecipe = serde_saphyr::from_str(RECIPE).expect("the recipe above");
        let now: Timestamp = "2026-11-23T08:00:00Z".parse().expect("a time");
        let base = |id: &str, name: &str| Image {
            id: id.parse().expect("an id"),
            name: name.into(),
            description: None,
            owner_id: "137112412989".into(),
            owner_alias: Some("amazon".into()),
            public: true,
            state: ImageState::Available,
            state_reason: None,
            architecture: "x86_64".into(),
            root_device_type: "ebs".into(),
            root_device_name: Some("/dev/xvda".into()),
            virtualization_type: "hvm".into(),
            platform: None,
            product_codes: Vec::new(),
            block_devices: vec![BlockDevice {
                device_name: "/dev/xvda".into(),
                snapshot_id: "snap-0a".parse().ok(),
                size_gib: Some(8),
                volume_type: Some("gp3".into()),
                encrypted: Some(false),
            }],
            creation_time: "2026-11-01T00:00:00Z".parse().ok(),
            source_instance_id: None,
            imds_v2_required: false,
            deregistration_protection: String::new(),
            tags: Tags::new(),
        };
        let subnet = |id: &str| Subnet {
            id: id.parse().expect("an id"),
            vpc_id: "vpc-0a".into(),
            tags: Tags::new(),
        };
        let instance_type = |name: &str| InstanceType {
            name: name.into(),
            architectures: vec!["x86_64".into()],
            nitro: true,
        };
        let search = |name: &str| ImageSearch {
            owners: vec!["amazon".into()],
            name: Some(name.into()),
            tags: BTreeMap::new(),
        };
        let view = View {
            account_id: "123456789012".into(),
            searches: vec![
                (search("base-x86_64"), Ok(vec![base("ami-0a", "base-x86_64")])),
                (search("inspector-x86_64"), Ok(vec![base("ami-0b", "inspector-x86_64")])),
            ],
            subnets: vec![subnet("subnet-0a"), subnet("subnet-0b")],
            security_groups: vec![SecurityGroup {
                id: "sg-0a".parse().expect("an id"),
                vpc_id: "vpc-0a".into(),
            }],
            instance_types: vec![instance_type("m7i.large"), instance_type("m6i.large")],
            ..View::default()
        };
        let all = || vec!["*".to_owned()];
        let grant = Grant {
            namespaces: all(),
            subnets: all(),
            security_groups: all(),
            instance_profiles: all(),
            kms_keys: all(),
            source_images: Vec::new(),
        };
        Self {
            recipe,
            view,
            records: Vec::new(),
            consoles: BTreeMap::new(),
            now,
            policy: AccountPolicy {
                name: "default".into(),
                regions: vec!["eu-central-1".into()],
                grants: vec![grant],
            },
            no_account: false,
            journal: Vec::new(),
            failing_step: None,
            finding: None,
            check_fails: false,
            consoles_lag: false,
            consoles_refused: None,
            console_ends_after: None,
            foreign_step: None,
            sealed_before: Vec::new(),
            volume_tokens: BTreeMap::new(),
            keys: SealKeys::new(vec![vec![7; 32]]).expect("a key of 32 bytes"),
            unreadable: Vec::new(),
            foreign_numbers: Vec::new(),
            records_denied: false,
            refusals: Vec::new(),
            look_again: Duration::ZERO,
            serial: 0,
        }
    }

    pub fn observe(&self) -> Observation {
        let inspector = ImageSearch {
            owners: vec!["amazon".into()],
            name: Some("inspector-x86_64".into()),
            tags: BTreeMap::new(),
        };
        let mut view = self.view.clone();
        view.taken = Some(self.now);
        let wanted = interests(&self.recipe, &self.records, &inspector);
        view.named_images
            .retain(|image| wanted.contains(&Interest::ImageName(image.name.clone())));
        Observation {
            recipe: self.recipe.clone(),
            owner: Owner {
                namespace: "platform".into(),
                name: "web".into(),
                uid: self.uid(),
            },
            installation: Installation {
                name: "test".into(),
                cluster: "cluster".into(),
            },
            now: self.now,
            keys: self.keys.clone(),
            policy: (!self.no_account).then(|| self.policy.clone()),
            inspector,
            view: Arc::new(view),
            records: match self.records_denied {
                true => Vec::new(),
                false => self.records.clone(),
            },
            without_records: self.records_denied,
            sealed_before: self.sealed_before.clone(),
            unreadable: self.unreadable.clone(),
            foreign_numbers: self.foreign_numbers.clone(),
            consoles: self.read_consoles(),
        }
    }

    fn read_consoles(&self) -> BTreeMap<InstanceId, Result<String, AwsError>> {
        let read = |text: &String| match self.consoles_refused {
            Some(class) => Err(refusal("GetConsoleOutput", class)),
            None => Ok(text.clone()),
        };
        match self.consoles_lag {
            true => BTreeMap::new(),
            false => self
                .consoles
                .iter()
                .map(|(id, text)| (id.clone(), read(text)))
                .collect(),
        }
    }

    pub fn uid(&self) -> String {
        self.recipe.metadata.uid.clone().unwrap_or_default()
    }

    pub fn status(&self) -> ImageRecipeStatus {
        self.recipe.status.clone().unwrap_or_default()
    }

    /// Reason of the condition of that type, with its status.
    pub fn condition(&self, type_: &str) -> Option<(bool, String)> {
        let status = self.status();
        crate::api::get(&status.conditions, type_)
            .map(|condition| (condition.status == "True", condition.reason.clone()))
    }

    pub fn delete(&mut self) {
        self.recipe.metadata.finalizers = Some(vec!["goldsmith.dev/cleanup".into()]);
        self.recipe.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
    }

    /// One whole pass.
    pub fn pass(&mut self) -> Plan {
        self.pass_cut_short(usize::MAX)
    }

    /// A pass that dies after so many effects; its report is lost then.
    pub fn pass_cut_short(&mut self, effects: usize) -> Plan {
        let observed = self.observe();
        let plan = decide(&observed);
        let mut outcomes = Outcomes::default();
        for (index, effect) in plan.effects.iter().enumerate() {
            if index >= effects {
                return plan;
            }
            if !outcomes.permit(effect) {
                continue;
            }
            if effect.creates() {
                self.recipe.status = Some(crate::recipe::report::intent(&observed, &plan));
            }
            self.journal.push(effect.clone());
            match self.carry_out(effect) {
                Ok(made) => outcomes.made.push((effect.clone(), made)),
                Err(error) => outcomes.failed.push((effect.clone(), error)),
            }
        }
        if effects == plan.effects.len() {
            return plan;
        }
        let report = report(&observed, &plan, &outcomes);
        let generation = Some(observed.generation());
        assert_eq!(
            crate::api::violations(&report.status.conditions, generation),
            Vec::<String>::new()
        );
        self.recipe.status = Some(report.status);
        self.look_again = report.look_again;
        plan
    }

    /// Passes, and time between them, until nothing is to be done.
    pub fn settle(&mut self) {
        for _ in 0..60 {
            self.time_goes_by(Duration::from_secs(5));
            let before = (self.recipe.status.clone(), self.view.clone());
            let plan = self.pass();
            if plan.effects.is_empty()
                && before == (self.recipe.status.clone(), self.view.clone())
                && plan.look_again >= Duration::from_secs(10)
            {
                return;
            }
        }
        panic!("never comes to rest: {:#?}", self.status());
    }

    pub fn time_goes_by(&mut self, by: Duration) {
        self.now += by;
        self.live();
    }

    /// The image that the recipe starts from.
    pub fn source(&self) -> Image {
        self.view.searches[0].1.clone().expect("no error")[0].clone()
    }

    fn refuse(&mut self, operation: &'static str) -> Result<(), AwsError> {
        match self.refusals.iter().position(|(refused, _)| *refused == operation) {
            None => Ok(()),
            Some(index) => {
                let (_, class) = self.refusals.remove(index);
                Err(refusal(operation, class))
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn carry_out(&mut self, effect: &Effect) -> Result<Made, AwsError> {
        match effect {
            Effect::BeginBuild(record) => self.records.push((**record).clone()),
            Effect::KeepUserData { build, .. }
            | Effect::KeepOutput { build, .. }
            | Effect::KeepProof { build, .. }
            | Effect::KeepFailure { build, .. }
            | Effect::KeepTagKeys { build, .. }
            | Effect::EndBuild { build, .. } => assert!(self.record(*build).apply(effect), "{effect} comes too late"),
            Effect::SealRecord { build } => self.sealed_before.retain(|before| before != build),
            Effect::ForgetRecord { config_map } => {
                self.records
                    .retain(|record| BuildRecord::config_map_name("web", record.number()) != *config_map);
                self.unreadable.retain(|malformed| malformed.name != *config_map);
            }
            Effect::Launch(launch) => {
                self.refuse("RunInstances")?;
                let token = launch.token.clone();
                if let Some(instance) = self
                    .view
                    .instances
                    .iter()
                    .find(|instance| instance.client_token.as_ref() == Some(&token))
                {
                    return Ok(Made::Instance(instance.id.clone()));
                }
                let id: InstanceId = format!("i-{:x}", self.next()).parse().expect("an id");
                self.view.instances.push(Instance {
                    id: id.clone(),
                    image_id: Some(launch.image.clone()),
                    state: InstanceState::Running,
                    state_reason: None,
                    instance_type: launch.instance_type.clone(),
                    subnet_id: launch.subnet.parse().ok(),
                    availability_zone: "eu-central-1a".into(),
                    launch_time: self.now,
                    client_token: Some(token),
                    tags: launch.tags.clone(),
                });
                return Ok(Made::Instance(id));
            }
            Effect::CreateImage {
                instance,
                name,
                tags,
                description,
            } => {
                self.refuse("CreateImage")?;
                if self.view.named_images.iter().any(|image| image.name == *name) {
                    return Err(refusal("CreateImage", ErrorClass::Exists));
                }
                let (image, snapshot) = (self.next(), self.next());
                let mut made = self.source();
                made.id = format!("ami-{image:x}").parse().expect("an id");
                made.name.clone_from(name);
                made.description.clone_from(description);
                made.owner_id = "123456789012".into();
                made.owner_alias = None;
                made.source_instance_id = Some(instance.clone());
                made.public = false;
                made.creation_time = Some(self.now);
                made.block_devices[0].snapshot_id = format!("snap-{snapshot:x}").parse().ok();
                made.tags.clone_from(tags);
                self.view.snapshots.push(Snapshot {
                    id: format!("snap-{snapshot:x}").parse().expect("an id"),
                    state: SnapshotState::Completed,
                    progress_percent: 100,
                    start_time: Some(self.now),
                    tags: tags.clone(),
                });
                let id = made.id.clone();
                self.view.named_images.push(made.clone());
                self.view.images.push(made);
                return Ok(Made::Image(id));
            }
            Effect::CreateVolume {
                snapshot, tags, token, ..
            } => {
                if let Some(id) = self.volume_tokens.get(token) {
                    return Ok(Made::Volume(id.clone()));
                }
                let id: VolumeId = format!("vol-{:x}", self.next()).parse().expect("an id");
                self.volume_tokens.insert(token.clone(), id.clone());
                self.view.volumes.push(Volume {
                    id: id.clone(),
                    state: VolumeState::Available,
                    snapshot_id: Some(snapshot.clone()),
                    instance_id: None,
                    delete_on_termination: false,
                    create_time: Some(self.now),
                    tags: tags.clone(),
                });
                return Ok(Made::Volume(id));
            }
            Effect::AttachVolume { volume, instance, .. } => {
                for attached in self.view.volumes.iter_mut().filter(|attached| attached.id == *volume) {
                    attached.state = VolumeState::InUse;
                    attached.instance_id = Some(instance.clone());
                }
            }
            Effect::DeleteWithInstance { instance, .. } => {
                self.view
                    .volumes
                    .iter_mut()
                    .filter(|volume| volume.instance_id.as_ref() == Some(instance))
                    .for_each(|volume| volume.delete_on_termination = true);
            }
            Effect::RequireImdsV2 { image } => self.image(image).imds_v2_required = true,
            Effect::SetDescription { image, description } => self.image(image).description = Some(description.clone()),
            Effect::Tag { resources, tags } => {
                self.refuse("CreateTags")?;
                self.tagged(resources, |present| present.extend(tags.clone()));
            }
            Effect::Untag { resources, keys } => {
                self.tagged(resources, |present| present.retain(|key, _| !keys.contains(key)))
            }
            Effect::Protect { image } => self.image(image).deregistration_protection = "enabled-with-cooldown".into(),
            Effect::Remove(Removal::Instance(instance)) => {
                self.refuse("TerminateInstances")?;
                self.view
                    .instances
                    .iter_mut()
                    .filter(|ended| ended.id == *instance)
                    .for_each(|ended| {
                        ended.state = InstanceState::Terminated;
                        ended.subnet_id = None;
                    });
                self.view
                    .volumes
                    .retain(|volume| volume.instance_id.as_ref() != Some(instance));
            }
            Effect::Remove(Removal::Volume(volume)) => self.view.volumes.retain(|present| present.id != *volume),
            Effect::Remove(Removal::Image(image)) => {
                let snapshots: Vec<SnapshotId> = self.image(image).snapshots().cloned().collect();
                self.view.images.retain(|present| present.id != *image);
                self.view.named_images.retain(|present| present.id != *image);
                self.view.snapshots.retain(|present| !snapshots.contains(&present.id));
            }
            Effect::Remove(Removal::Snapshot(snapshot)) => {
                self.view.snapshots.retain(|present| present.id != *snapshot)
            }
            Effect::RemoveFinalizer => self.recipe.metadata.finalizers = None,
        }
        Ok(Made::Nothing)
    }

    fn record(&mut self, build: i64) -> &mut BuildRecord {
        self.records
            .iter_mut()
            .find(|record| record.number() == build)
            .expect("a record of this build")
    }

    fn image(&mut self, id: &ImageId) -> &mut Image {
        self.view
            .images
            .iter_mut()
            .find(|image| image.id == *id)
            .expect("an image of this id")
    }

    fn tagged(&mut self, resources: &[String], change: impl Fn(&mut Tags)) {
        let named = |id: &str| resources.iter().any(|resource| resource == id);
        self.view
            .images
            .iter_mut()
            .filter(|image| named(image.id.as_str()))
            .for_each(|image| change(&mut image.tags));
        self.view
            .snapshots
            .iter_mut()
            .filter(|snapshot| named(snapshot.id.as_str()))
            .for_each(|snapshot| change(&mut snapshot.tags));
    }
}

fn refusal(operation: &'static str, class: ErrorClass) -> AwsError {
    AwsError {
        operation,
        class,
        code: format!("{class:?}"),
        message: "no".into(),
        request_id: None,
    }
}
