//! What is wrong with the world at the end of a run. Shares nothing with the controller's own logic: it looks at what EC2 and the
//! API server have, as JSON.

mod picture;
pub mod status;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;

use crate::api_server::Kind;
use crate::history::Step;
use crate::world::World;

pub use picture::Picture;

/// How many times as many requests a world at rest may see after a fault.
const MORE_AT_REST: usize = 2;
/// How much later than undisturbed a world comes to rest after one fault: a few looks, a retry, and what is missing for a minute.
const LATER: SignedDuration = SignedDuration::from_mins(5);

/// What is wrong in itself.
pub fn wrong(world: &World) -> Vec<String> {
    let inventory = inventory(world);
    let state = world.state();
    let mut wrong = state.wrong.clone();
    wrong.extend(doubled(&state.history));
    wrong.extend(leaked(&inventory));
    for recipe in state.api.objects(Kind::ImageRecipe) {
        let (name, said) = (&recipe["metadata"]["name"], status::kstatus(recipe));
        if said != "Current" {
            wrong.push(format!(
                "{name} is {said} at the end: {}",
                recipe["status"]["conditions"]
            ));
        }
        let images = recipe["status"]["latest"]["images"].as_object().into_iter().flatten();
        let images = images.flat_map(|(_, images)| images.as_object().into_iter().flatten());
        for (_, id) in images {
            if !things(&inventory, "images").any(|image| image["id"] == *id && image["state"] == "available") {
                wrong.push(format!(
                    "the status of {name} claims image {id}, which EC2 does not have available"
                ));
            }
        }
    }
    wrong
}

/// What differs from the world of the undisturbed run, and from the way it came to rest.
pub fn differences(undisturbed: &World, world: &World) -> Vec<String> {
    let mut differences = Picture::of(undisturbed).differences(&Picture::of(world));
    let (usual, asked) = (at_rest(undisturbed), at_rest(world));
    if asked > usual * MORE_AT_REST {
        differences.push(format!("{asked} requests at rest, undisturbed {usual}"));
    }
    // One after the other: both may be the same world.
    let usual = undisturbed.state().active;
    let active = world.state().active;
    if active.duration_since(usual) > LATER {
        differences.push(format!("it came to rest at {active}, undisturbed at {usual}"));
    }
    differences
}

/// Requests after the last one that changed something: passes that never end show here. The Lease is renewed all the time.
fn at_rest(world: &World) -> usize {
    let state = world.state();
    let after = state.history.iter().rev().take_while(|step| !step.is_activity());
    after.filter(|step| !step.mutates).count()
}

/// What EC2 has that was not there from the beginning.
fn inventory(world: &World) -> Value {
    let inventory = goldsmith_simulator::tcp::lock(&world.simulator).inventory();
    serde_json::to_value(inventory).unwrap_or_default()
}

/// The things of one kind, in all regions.
fn things<'a>(inventory: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let regions = inventory.as_object().into_iter().flatten();
    regions.flat_map(move |(_, region)| region[kind].as_array().into_iter().flatten())
}

/// What was made more than once for one purpose.
fn doubled(history: &[Step]) -> Vec<String> {
    let mut made = BTreeMap::<&str, BTreeSet<&str>>::new();
    for step in history {
        let prefix = match step.request.as_str() {
            "RunInstances" => "i-",
            "CreateVolume" => "vol-",
            "CreateImage" => "ami-",
            _ => continue,
        };
        let ids = step.made.iter().map(String::as_str).filter(|id| id.starts_with(prefix));
        made.entry(&step.purpose).or_default().extend(ids);
    }
    let twice = made.into_iter().filter(|(_, ids)| ids.len() > 1);
    twice
        .map(|(purpose, ids)| format!("made more than once: {purpose}: {ids:?}"))
        .collect()
}

/// What is temporary, and is still there.
fn leaked(inventory: &Value) -> Vec<String> {
    let proven = |thing: &Value| !thing["tags"]["goldsmith.dev/proven"].is_null();
    let names: BTreeSet<&str> = things(inventory, "images")
        .filter(|image| proven(image))
        .filter_map(|image| image["name"].as_str())
        .collect();
    let mut leaked = Vec::new();
    for kind in ["instances", "volumes"] {
        leaked.extend(things(inventory, kind).map(|thing| (kind, thing)));
    }
    leaked.extend(
        things(inventory, "images")
            .filter(|image| !proven(image))
            .map(|thing| ("images", thing)),
    );
    let kept = |snapshot: &Value| snapshot["name"].as_str().is_some_and(|name| names.contains(name));
    leaked.extend(
        things(inventory, "snapshots")
            .filter(|snapshot| !kept(snapshot))
            .map(|thing| ("snapshots", thing)),
    );
    let leaked = leaked.into_iter();
    leaked.map(|(kind, thing)| format!("left in {kind}: {thing}")).collect()
}
