//! What is wrong at the end, when everything is at rest.

use goldsmith_simulator::tcp;
use jiff::SignedDuration;
use serde_json::Value;

use super::aws::newer_source;
use super::ec2::{Ec2, Image};
use super::inputs::told;
use super::picture::Picture;
use super::{Judge, Wrong, kubernetes, status};
use crate::api_server::{ApiServer, Kind};
use crate::plan::Fault;
use crate::story;
use crate::world::{State, World};

/// How many times as many requests a world at rest may see after a fault.
const MORE_AT_REST: usize = 2;
/// Requests an hour, renewals of the Lease not counted, that a world at rest may see without any fault.
const MOST_AT_REST: usize = 2_500;
/// How many times as many after a fault: what EC2 never brings to an end is looked at every few seconds for half an hour.
const STUCK: usize = 4;
/// Events that one recipe may have.
const MOST_EVENTS: usize = 60;
/// How much later than undisturbed a world comes to rest once a fault is over: a few looks, a retry, and what may not show for five minutes.
const LATER: SignedDuration = SignedDuration::from_mins(6);

/// What is wrong, and what was wrong on the way.
pub fn wrong(world: &World) -> Vec<Wrong> {
    let simulator = tcp::lock(&world.simulator);
    let ec2 = Ec2::of(&simulator);
    let state = world.state();
    let State { api, judge, .. } = &*state;
    let mut wrong = Vec::new();
    let left = judge.left(None, &ec2);
    if !left.is_empty() {
        wrong.push(format!("invariant 3: at rest, and {left:?} are left"));
    }
    let struck = |fault| state.history.iter().any(|step| step.fault == Some(fault));
    let refused = struck(Fault::RecordRefused).then_some("RecordRefused");
    let untold = state.story.told.into_iter().chain(refused);
    let untold = untold.filter(|reason| !judge.reasons.contains(*reason));
    wrong.extend(untold.map(|reason| format!("no status has given the reason {reason}")));
    let costly = story::COSTLY.into_iter().filter(|fault| struck(*fault)).count();
    let attempts = judge.made.values().map(|label| label.attempt).max().unwrap_or_default();
    if state.story.nothing_fails && usize::try_from(attempts).is_ok_and(|attempts| attempts > 1 + costly) {
        wrong.push(format!("{attempts} attempts were made, and {costly} of them lost"));
    }
    let undisturbed = state.history.iter().all(|step| step.fault.is_none());
    if let Some((request, _)) = state.story.meanwhile
        && !state.people.has_interfered
        && undisturbed
    {
        wrong.push(format!(
            "people have not done what they do at {request}: none has succeeded"
        ));
    }
    // Each of those that believe that they lead looks on.
    let leaders = api.objects(Kind::Lease).count();
    let most = MOST_AT_REST * leaders * if undisturbed { 1 } else { STUCK };
    let asked = at_rest(&state);
    if asked > most {
        wrong.push(format!("{asked} requests an hour at rest, {most} at most"));
    }
    for recipe in api.objects(Kind::ImageRecipe) {
        if undisturbed {
            // One is lost with the process that was about to write it.
            wrong.extend(untold_end(api, recipe));
            let (told, expected) = (events(api, recipe), state.story.events());
            if told != expected {
                let name = &recipe["metadata"]["name"];
                wrong.push(format!("Events tell of {name} {told:?}, expected {expected:?}"));
            }
        }
        wrong.extend(wrong_status(recipe, &state));
        for id in kubernetes::images(&recipe["status"]["latest"]) {
            wrong.extend(judge.wrong_latest(id, recipe, &ec2));
        }
    }
    let wrong = wrong.into_iter().map(Wrong::from);
    state.wrong.iter().cloned().chain(wrong).collect()
}

/// What is wrong with what a recipe says of itself.
fn wrong_status(recipe: &Value, state: &State) -> Vec<String> {
    let State { api, judge, story, .. } = state;
    let mut wrong = Vec::new();
    let (name, said) = (&recipe["metadata"]["name"], status::kstatus(recipe));
    let (end, reason) = story.end;
    let conditions = &recipe["status"]["conditions"];
    if said != end {
        wrong.push(format!("{name} is {said} at the end: {conditions}"));
    } else if status::condition(recipe, "Ready").is_some_and(|ready| ready["reason"] != reason) {
        wrong.push(format!("{name} does not end for the reason {reason}: {conditions}"));
    }
    let events = events_of(api, recipe).count();
    if events > MOST_EVENTS {
        wrong.push(format!("{events} Events tell of {name}, {MOST_EVENTS} at most"));
    }
    // The same words may be true of several builds.
    let builds = recipe["status"]["history"][0]["build"].as_u64().unwrap_or(1).max(1);
    // What is latest is said of status: who empties that is told anew.
    let of_builds = events_of(api, recipe).filter(|event| event["reason"] != "LatestChanged");
    let mut notes: Vec<String> = of_builds
        .map(|event| format!("{} {}", event["reason"], event["note"]))
        .collect();
    notes.sort();
    let again = notes
        .chunk_by(|one, other| one == other)
        .find(|same| u64::try_from(same.len()).is_ok_and(|times| times > builds));
    wrong.extend(again.map(|same| format!("{} Events tell of {name} {:?}", same.len(), same.first())));
    let limit = recipe["spec"]["historyLimit"].as_u64().unwrap_or_default();
    let records = kubernetes::records_of(api, recipe).count();
    if u64::try_from(records).is_ok_and(|records| records > limit.max(1)) {
        wrong.push(format!("{records} records of {name} are kept, {limit} at most"));
    }
    let found = [
        unanswered(recipe),
        judge.history_differs(recipe, api),
        judge.other_contents(recipe),
    ];
    wrong.extend(found.into_iter().flatten());
    wrong
}

impl Judge {
    /// What is wrong with an image that a recipe calls its latest.
    fn wrong_latest(&self, id: &str, recipe: &Value, ec2: &Ec2<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let (name, spec) = (&recipe["metadata"]["name"], &recipe["spec"]);
        let image = ec2.images.get(id);
        if !ec2.is_available(id) {
            wrong.push(format!(
                "invariant 7: the status of {name} claims image {id}, which EC2 does not have available"
            ));
        }
        if spec["test"]["enabled"] == false {
            wrong.push(format!(
                "invariant 4: latest of {name} is {id}, and its spec proves nothing"
            ));
        } else if !self.tested_so.contains(&(id.to_owned(), spec["test"].to_string())) {
            wrong.push(format!(
                "invariant 4: latest of {name} is {id}, which was never tested as its spec says"
            ));
        }
        let source = self.sources.get(id).map(String::as_str);
        let newer = source.and_then(|source| newer_source(spec, source, ec2));
        if let Some(newer) = newer.filter(|_| spec["rebuild"]["onSourceChange"] != false) {
            wrong.push(format!(
                "latest of {name} is {id}, which is not made from {newer}, its newest source"
            ));
        }
        let builder = self.builders.get(id).and_then(|builder| self.told.get(builder));
        // One of before serves while what the spec says now has failed.
        let builder = builder.filter(|_| status::kstatus(recipe) == "Current");
        let mut wanted = told(spec);
        if let Some(untold) = wanted.find(|said| builder.is_some_and(|builder| !builder.contains(said))) {
            wrong.push(format!(
                "latest of {name} is {id}, whose builder was not told {untold:?}"
            ));
        }
        if self.edited.contains(id) {
            wrong.push(format!("latest of {name} is {id}, whose verdict somebody has edited"));
        }
        wrong.extend(
            image
                .into_iter()
                .flat_map(|image| self.tags_at_rest(id, image, recipe, ec2)),
        );
        wrong.extend(image.and_then(|image| settings(id, image, recipe)));
        wrong
    }
}

/// That an image is not described or protected as its recipe says.
fn settings(id: &str, image: &Image<'_>, recipe: &Value) -> Option<String> {
    let (name, spec) = (&recipe["metadata"]["name"], &recipe["spec"]["image"]);
    let wanted = spec["description"].as_str();
    // One that leaves the spec stays on the image.
    if wanted.is_some() && image.description != wanted {
        return Some(format!("the description of {id} is not that of {name}, {wanted:?}"));
    }
    match (spec["deregistrationProtection"] != false, image.protected) {
        (true, false) => Some(format!(
            "invariant 1: image {id} of {name} is not protected, and its spec says so"
        )),
        (false, true) => Some(format!("image {id} of {name} is protected, and its spec says not to")),
        _ => None,
    }
}

/// Events that tell of a recipe.
fn events_of<'a>(api: &'a ApiServer, recipe: &'a Value) -> impl Iterator<Item = &'a Value> {
    let events = api.objects(Kind::Event);
    events.filter(|event| event["regarding"]["uid"] == recipe["metadata"]["uid"])
}

/// Reasons of a recipe's Events, in the order of time.
fn events(api: &ApiServer, recipe: &Value) -> String {
    let mut events: Vec<(String, &str)> = events_of(api, recipe)
        .map(|event| {
            (
                event["eventTime"].to_string(),
                event["reason"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    events.sort();
    let reasons: Vec<&str> = events.into_iter().map(|(_, reason)| reason).collect();
    reasons.join(" ")
}

/// That status does not answer a request of an annotation, which others wait for.
fn unanswered(recipe: &Value) -> Option<String> {
    let asked = |name: &str| &recipe["metadata"]["annotations"][format!("goldsmith.dev/{name}")];
    let mut requests = ["build", "reconcile"].into_iter();
    let name =
        requests.find(|name| !asked(name).is_null() && recipe["status"]["handledRequests"][name] != *asked(name))?;
    let (recipe, asked) = (&recipe["metadata"]["name"], asked(name));
    Some(format!(
        "{recipe} asks by goldsmith.dev/{name} for {asked}, and its status does not say that this was handled"
    ))
}

/// That no Event tells people of how a recipe has ended.
fn untold_end(api: &ApiServer, recipe: &Value) -> Option<String> {
    let latest = kubernetes::images(&recipe["status"]["latest"]);
    let failed = status::kstatus(recipe) == "Failed";
    let mut events = events_of(api, recipe);
    let note = |event: &Value| event["note"].as_str().unwrap_or_default().to_owned();
    let told = events.any(|event| match failed {
        true => event["type"] == "Warning",
        // One that nothing has proven is never latest.
        false => event["type"] == "Normal" && latest.iter().all(|id| note(event).contains(*id)),
    });
    let name = &recipe["metadata"]["name"];
    (!told).then(|| format!("no Event tells people of how {name} has ended: {latest:?}"))
}

/// What users have otherwise than in the world of another run, whatever lies behind it.
pub fn other_results(reference: &World, world: &World) -> Vec<String> {
    Picture::of_what_users_have(reference).differences(&Picture::of_what_users_have(world))
}

/// What differs from the world of the undisturbed run, and from the way it came to rest.
pub fn differences(undisturbed: &World, world: &World) -> Vec<String> {
    let mut differences = Picture::of(undisturbed).differences(&Picture::of(world));
    let usual = at_rest(&undisturbed.state());
    let asked = at_rest(&world.state());
    // Each of those that believe that they lead looks on.
    let leaders = world.state().api.objects(Kind::Lease).count();
    if asked > usual * MORE_AT_REST * leaders {
        differences.push(format!("{asked} requests an hour at rest, undisturbed {usual}"));
    }
    // One after the other: both may be the same world.
    let usual = undisturbed.state().active;
    let active = world.state().active;
    // One that was frozen goes on once the others have been at rest.
    let frozen = world
        .state()
        .history
        .iter()
        .any(|step| step.fault == Some(Fault::Frozen));
    let over = world.state().in_force.unanswered();
    if active.duration_since(usual) > LATER + over && !frozen {
        differences.push(format!("it came to rest at {active}, undisturbed at {usual}"));
    }
    differences
}

/// Requests an hour after the last one that changed something: passes that never end show here. The Lease is read and renewed all the time.
fn at_rest(state: &State) -> usize {
    let after = state.history.iter().rev().take_while(|step| !step.is_activity());
    let asked = after
        .filter(|step| !step.mutates && !step.request.contains("/leases"))
        .count();
    let lasted = state.history.last().map(|last| last.time.duration_since(state.active));
    let seconds = lasted.map_or(0, |lasted| lasted.unsigned_abs().as_secs());
    asked * 3600 / usize::try_from(seconds.max(1)).unwrap_or(usize::MAX)
}
