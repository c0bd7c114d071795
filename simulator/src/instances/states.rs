//! StartInstances, StopInstances, RebootInstances, TerminateInstances.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::launch::public_address;
use super::placement::no_capacity;
use super::{Instance, State, StateItem};
use crate::durations;
use crate::images::StateReason;
use crate::operations::{Call, Return};
use crate::protocol::Error;
use crate::region::Region;
use crate::schedule::Due;
use crate::time::to_second;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstancesRequest {
    #[serde(rename = "InstanceId", default)]
    instance_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminateInstancesRequest {
    #[serde(rename = "InstanceId", default)]
    instance_ids: Vec<String>,
    /// Does not wait for the guest; nothing here waits longer for it than EC2 does anyway.
    #[serde(rename = "Force")]
    _force: Option<bool>,
    #[serde(rename = "SkipOsShutdown")]
    _skip_os_shutdown: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateChangesResponse {
    instances_set: Vec<StateChange>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StateChange {
    instance_id: String,
    current_state: StateItem,
    previous_state: StateItem,
}

/// Checks every instance, then changes every one, so that a refusal changes nothing.
fn change(
    call: &mut Call<'_>,
    ids: &[String],
    check: impl Fn(&Instance) -> Result<(), Error>,
    carry_out: impl Fn(&mut Region, Timestamp, &str),
) -> Result<StateChangesResponse, Error> {
    if ids.is_empty() {
        return Err(Error::combination("No instances specified"));
    }
    for id in ids {
        check(call.region.instance(id)?)?;
    }
    let mut instances_set = Vec::new();
    for id in ids {
        let previous_state = call.region.instance(id)?.state.into();
        carry_out(call.region, call.now, id);
        let current_state = call.region.instance(id)?.state.into();
        instances_set.push(StateChange {
            instance_id: id.clone(),
            current_state,
            previous_state,
        });
    }
    Ok(StateChangesResponse { instances_set })
}

fn wrong_state(instance: &Instance, action: &str, wanted: &str) -> Error {
    let message = format!(
        "The instance '{}' is not in a state from which it can be {action}: it is '{}', and must be {wanted}.",
        instance.id,
        instance.state.name()
    );
    Error::new("IncorrectInstanceState", message)
}

pub fn start_instances(call: &mut Call<'_>, request: InstancesRequest) -> Result<StateChangesResponse, Error> {
    let check = |instance: &Instance| match instance.state {
        State::Stopped | State::Pending | State::Running => Ok(()),
        _ => Err(wrong_state(instance, "started", "stopped")),
    };
    let mut starting = 0;
    for id in &request.instance_ids {
        let instance = call.region.instance(id)?;
        check(instance)?;
        if instance.state == State::Stopped {
            starting += 1;
            if call.region.capacity_left(&instance.instance_type, &instance.zone) == 0 {
                return Err(no_capacity(&instance.instance_type, &instance.zone));
            }
        }
    }
    call.region.buckets.take_instances(starting, call.now)?;
    change(call, &request.instance_ids, check, |region, now, id| {
        let chance = region.random.draw();
        let Some(instance) = region
            .instances
            .get_mut(id)
            .filter(|instance| instance.state == State::Stopped)
        else {
            return;
        };
        instance.state = State::Pending;
        instance.state_reason = Some(StateReason {
            code: "pending".to_owned(),
            message: "pending".to_owned(),
        });
        instance.transition_reason = String::new();
        instance.launched = to_second(now);
        let subnet = region
            .subnets
            .iter()
            .find(|subnet| subnet.subnet_id == instance.subnet_id);
        instance.public_ip = subnet
            .filter(|subnet| subnet.map_public_ip_on_launch)
            .map(|_| public_address(chance));
        region.later(
            now,
            durations::LAUNCH,
            Due::InstanceRunning {
                instance: id.to_owned(),
            },
        );
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StopInstancesRequest {
    #[serde(rename = "InstanceId", default)]
    instance_ids: Vec<String>,
    /// Does not wait for the guest.
    force: Option<bool>,
    /// Neither does this.
    skip_os_shutdown: Option<bool>,
}

pub fn stop_instances(call: &mut Call<'_>, request: StopInstancesRequest) -> Result<StateChangesResponse, Error> {
    let check = |instance: &Instance| match instance.state {
        _ if instance.disable_api_stop => {
            let message = format!(
                "The instance '{}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.",
                instance.id
            );
            Err(Error::new("OperationNotPermitted", message))
        }
        State::Running | State::Stopping | State::Stopped => Ok(()),
        _ => Err(wrong_state(instance, "stopped", "running")),
    };
    let force = request.force == Some(true) || request.skip_os_shutdown == Some(true);
    change(call, &request.instance_ids, check, move |region, now, id| {
        if region
            .instances
            .get(id)
            .is_some_and(|instance| instance.state == State::Running)
        {
            region.begin_stop(now, id, user_initiated(), force);
        }
    })
}

/// A protected instance spares those of its own zone; those of other zones are terminated all the same, and the call
/// fails.
pub fn terminate_instances(
    call: &mut Call<'_>,
    request: TerminateInstancesRequest,
) -> Result<StateChangesResponse, Error> {
    let protected = |instance: &&Instance| instance.disable_api_termination && !instance.state.ends();
    let found = request.instance_ids.iter().map(|id| call.region.instance(id));
    let found = found.collect::<Result<Vec<&Instance>, Error>>()?;
    let refusal = found.iter().copied().find(protected).map(|instance| {
        let message = format!(
            "The instance '{}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.",
            instance.id
        );
        Error::new("OperationNotPermitted", message)
    });
    let spared: Vec<&str> = found
        .iter()
        .copied()
        .filter(protected)
        .map(|i| i.zone.as_str())
        .collect();
    let ended = found
        .iter()
        .filter(|instance| !spared.contains(&instance.zone.as_str()));
    let ended: Vec<String> = ended.map(|instance| instance.id.clone()).collect();
    if let (Some(refusal), true) = (&refusal, ended.is_empty()) {
        return Err(refusal.clone());
    }
    let changes = change(
        call,
        &ended,
        |_| Ok(()),
        |region, now, id| {
            if region.instances.get(id).is_some_and(|instance| !instance.state.ends()) {
                region.begin_termination(now, id, user_initiated());
            }
        },
    );
    refusal.map_or(changes, Err)
}

/// Terminated ones are passed over.
pub fn reboot_instances(call: &mut Call<'_>, request: InstancesRequest) -> Result<Return, Error> {
    let check = |instance: &Instance| match instance.state {
        State::Running | State::Pending | State::ShuttingDown | State::Terminated => Ok(()),
        _ => Err(wrong_state(instance, "rebooted", "running")),
    };
    change(call, &request.instance_ids, check, |region, now, id| {
        region.reboot(now, id)
    })?;
    Ok(Return::TRUE)
}

fn user_initiated() -> StateReason {
    StateReason {
        code: "Client.UserInitiatedShutdown".to_owned(),
        message: "Client.UserInitiatedShutdown: User initiated shutdown".to_owned(),
    }
}
