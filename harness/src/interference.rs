//! What people do in the middle of a run, in the cluster and in the account.

use goldsmith_simulator::control::GuestRule;
use goldsmith_simulator::tcp;
use serde_json::{Value, json};

use crate::api_server::Kind;
use crate::history::Step;
use crate::people::call;
use crate::plan::Fault;
use crate::story::{RECIPES, write};
use crate::world::World;

/// Does what `fault` says that someone does, once `step` has had its effect.
pub fn interfere(world: &World, step: &Step, fault: Fault) {
    let recipes: Vec<Value> = world.state().api.objects(Kind::ImageRecipe).cloned().collect();
    let path = |recipe: &Value| format!("{RECIPES}/{}", recipe["metadata"]["name"].as_str().unwrap_or_default());
    match fault {
        Fault::TagEdited => recipes.iter().for_each(|recipe| {
            let spec = json!({"image": {"tags": {"team": "web"}}});
            write(world, "PATCH", &path(recipe), &json!({"spec": spec}));
        }),
        Fault::StepEdited => recipes.iter().for_each(|recipe| {
            let steps = json!([{"name": "packages", "run": "dnf -y install nginx-core"}]);
            write(
                world,
                "PATCH",
                &path(recipe),
                &json!({"spec": {"build": {"steps": steps}}}),
            );
        }),
        Fault::Deleted => recipes
            .iter()
            .for_each(|recipe| write(world, "DELETE", &path(recipe), &Value::Null)),
        Fault::Recreated => recipes.iter().for_each(|recipe| {
            let free = json!({"metadata": {"finalizers": null}});
            write(world, "PATCH", &path(recipe), &free);
            write(world, "DELETE", &path(recipe), &Value::Null);
            let (name, namespace) = (&recipe["metadata"]["name"], &recipe["metadata"]["namespace"]);
            let anew = json!({
                "apiVersion": recipe["apiVersion"],
                "kind": recipe["kind"],
                "metadata": {"name": name, "namespace": namespace},
                "spec": recipe["spec"],
            });
            write(world, "POST", RECIPES, &anew);
        }),
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

/// Ids of what the controller has made, that begin so.
fn made(world: &World, prefix: &str) -> Vec<String> {
    let state = world.state();
    let made = state.history.iter().flat_map(|step| &step.made);
    made.filter(|id| id.starts_with(prefix)).cloned().collect()
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

fn deregister_images(world: &World) {
    for id in made(world, "ami-") {
        let (there, protected) = {
            let simulator = tcp::lock(&world.simulator);
            let mut images = simulator
                .state
                .regions
                .values()
                .filter_map(|region| region.images.get(&id));
            let image = images.next();
            let available = image.is_some_and(|image| image.state.name() == "available");
            (
                available,
                image.is_some_and(|image| image.protection.name() != "disabled"),
            )
        };
        if protected {
            let mut simulator = tcp::lock(&world.simulator);
            let images = simulator
                .state
                .regions
                .values_mut()
                .filter_map(|region| region.images.get_mut(&id));
            // A day ago: its cooldown is over.
            images.for_each(|image| image.protection = Default::default());
        }
        if there {
            call(
                world,
                world.now(),
                &[("Action", "DeregisterImage"), ("ImageId", id.as_str())],
            );
        }
    }
}
