//! What people do in the middle of a run, in the cluster and in the account.

use goldsmith_simulator::control::GuestRule;
use goldsmith_simulator::tcp;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::api_server::Kind;
use crate::history::Step;
use crate::people::call;
use crate::plan::Fault;
use crate::story::{RECIPES, write};
use crate::world::World;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/goldsmith-system/leases/goldsmith";

/// When another process takes the Lease and renews it, from then on.
const RENEWALS: [SignedDuration; 5] = [
    SignedDuration::ZERO,
    SignedDuration::from_secs(10),
    SignedDuration::from_secs(20),
    SignedDuration::from_secs(30),
    SignedDuration::from_secs(40),
];

/// Does what `fault` says that someone does, once `step` has had its effect.
pub fn interfere(world: &World, step: &Step, fault: Fault) {
    match fault {
        Fault::TagEdited => of_every_recipe(world, |path, _| {
            let spec = json!({"image": {"tags": {"team": "web"}}});
            write(world, "PATCH", path, &json!({"spec": spec}));
        }),
        Fault::StepEdited => of_every_recipe(world, |path, _| {
            let steps = json!([{"name": "packages", "run": "dnf -y install nginx-core"}]);
            write(world, "PATCH", path, &json!({"spec": {"build": {"steps": steps}}}));
        }),
        Fault::Deleted => of_every_recipe(world, |path, _| write(world, "DELETE", path, &Value::Null)),
        Fault::Recreated => of_every_recipe(world, |path, recipe| {
            write(world, "PATCH", path, &json!({"metadata": {"finalizers": null}}));
            write(world, "DELETE", path, &Value::Null);
            let (name, namespace) = (&recipe["metadata"]["name"], &recipe["metadata"]["namespace"]);
            let anew = json!({
                "apiVersion": recipe["apiVersion"],
                "kind": recipe["kind"],
                "metadata": {"name": name, "namespace": namespace},
                "spec": recipe["spec"],
            });
            write(world, "POST", RECIPES, &anew);
        }),
        Fault::LeaseTaken => {
            for after in RENEWALS {
                world.state().in_force.at(step.time + after, Box::new(hold_lease));
            }
        }
        Fault::InstancesTerminated => terminate_instances(world),
        Fault::ImagesDeregistered => deregister_images(world),
        Fault::ConsoleSilent => {
            let rule = GuestRule {
                instance_id: step.made.first().cloned(),
                image_id: None,
                tags: [].into(),
                instructions: vec!["no-console".to_owned()],
            };
            let added = tcp::lock(&world.simulator).add_guest_rules(vec![rule]);
            debug_assert_eq!(added, Ok(()));
        }
        _ => {}
    }
}

/// Does something to every recipe, by its path and as it is.
fn of_every_recipe(world: &World, act: impl Fn(&str, &Value)) {
    let recipes: Vec<Value> = world.state().api.objects(Kind::ImageRecipe).cloned().collect();
    for recipe in recipes {
        let name = recipe["metadata"]["name"].as_str().unwrap_or_default();
        act(&format!("{RECIPES}/{name}"), &recipe);
    }
}

/// Ids of what the controller has made, that begin so.
pub fn made(world: &World, prefix: &str) -> Vec<String> {
    let state = world.state();
    let made = state.history.iter().flat_map(|step| &step.made);
    made.filter(|id| id.starts_with(prefix)).cloned().collect()
}

/// Writes the Lease as another process does that holds it.
fn hold_lease(world: &World) {
    let now = world.now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let spec =
        json!({"holderIdentity": "goldsmith-2", "leaseDurationSeconds": 15, "acquireTime": now, "renewTime": now});
    write(world, "PATCH", LEASE, &json!({"spec": spec}));
}

fn terminate_instances(world: &World) {
    for id in made(world, "i-") {
        let there = {
            let simulator = tcp::lock(&world.simulator);
            let mut regions = simulator.state.regions.values();
            regions.any(|region| region.instances.contains_key(&id))
        };
        if there {
            let terminate = [("Action", "TerminateInstances"), ("InstanceId.1", id.as_str())];
            call(world, world.now(), &terminate);
        }
    }
}

/// Somebody deregisters the controller's images; their snapshots stay.
pub fn deregister_images(world: &World) {
    made(world, "ami-").iter().for_each(|id| deregister(world, id));
}

/// Somebody deregisters an image, if it is available.
pub fn deregister(world: &World, id: &str) {
    let is_available = {
        let mut simulator = tcp::lock(&world.simulator);
        let regions = simulator.state.regions.values_mut();
        let image = regions.filter_map(|region| region.images.get_mut(id)).next();
        image.is_some_and(|image| {
            // It was taken off a day ago: its cooldown is over.
            image.protection = Default::default();
            image.state.name() == "available"
        })
    };
    if is_available {
        call(world, world.now(), &[("Action", "DeregisterImage"), ("ImageId", id)]);
    }
}
