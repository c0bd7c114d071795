//! The instance metadata service, version 2, on a socket for each machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::UnixListener;
use tokio::task::AbortHandle;

use super::Machines;
use super::bounded::Bounded;
use crate::instances::{Instance, decode_user_data};
use crate::region::Region;
use crate::tcp::lock;
use crate::time::Time;

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_SECONDS: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// The longest that a token may live, six hours.
const MOST_SECONDS: i64 = 21_600;
/// Each takes a process of the host (`socat`), and no client of the service opens more than a few.
const MOST_CONNECTIONS: usize = 64;
/// From one answer to the next. An emulated guest on a busy host takes a second or two to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub struct Service(AbortHandle);

impl Drop for Service {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone)]
struct Asked {
    machines: Arc<Machines>,
    instance: Arc<str>,
}

impl Service {
    pub fn start(machines: Arc<Machines>, instance: &str, socket: &Path) -> Result<Self, String> {
        let listener =
            UnixListener::bind(socket).map_err(|error| format!("can't use {}: {error}", socket.display()))?;
        let asked = Asked {
            machines,
            instance: instance.into(),
        };
        let router = Router::new().fallback(any(answer)).with_state(asked);
        let served = tokio::spawn(async move {
            // It ends with the machine.
            let _ = axum::serve(Bounded::new(listener, MOST_CONNECTIONS, PATIENCE), router).await;
        });
        Ok(Self(served.abort_handle()))
    }
}

async fn answer(State(asked): State<Asked>, request: Request<Body>) -> Response {
    let now = (asked.machines.clock)();
    let simulator = lock(&asked.machines.simulator);
    let mut regions = simulator.state.regions.values();
    let found = regions.find_map(|region| Some((region, region.instances.get(&*asked.instance)?)));
    let Some((region, instance)) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let path = request.uri().path();
    respond(region, instance, now, request.method(), path, request.headers())
}

fn respond(
    region: &Region,
    instance: &Instance,
    now: Timestamp,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if instance.metadata_options.http_endpoint == "disabled" {
        return StatusCode::FORBIDDEN.into_response();
    }
    if method == Method::PUT && path == "/latest/api/token" {
        // Whoever asks for someone else is not the instance.
        if headers.contains_key("x-forwarded-for") {
            return StatusCode::FORBIDDEN.into_response();
        }
        let seconds = header(TOKEN_SECONDS).and_then(|text| text.parse::<i64>().ok());
        return match seconds.filter(|seconds| (1..=MOST_SECONDS).contains(seconds)) {
            Some(seconds) => {
                let ends = now.as_second() + seconds;
                ([(TOKEN_SECONDS, seconds.to_string())], token(instance, ends)).into_response()
            }
            None => StatusCode::BAD_REQUEST.into_response(),
        };
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match header(TOKEN) {
        Some(given) if !is_good(instance, given, now) => return StatusCode::UNAUTHORIZED.into_response(),
        None if instance.metadata_options.http_tokens == "required" => {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        _ => {}
    }
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let Some(version) = parts.next() else {
        return text("latest".to_owned());
    };
    if version != "latest" && version.parse::<jiff::civil::Date>().is_err() {
        return StatusCode::NOT_FOUND.into_response();
    }
    if parts.clone().eq(["user-data"]) {
        let data = instance
            .user_data
            .as_deref()
            .and_then(|data| decode_user_data(data).ok());
        return match data {
            Some(data) => ([(CONTENT_TYPE, "application/octet-stream")], data).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    // Of keys alone a folder lists what they are called too.
    if let (Some(name), true) = (&instance.key_name, parts.clone().eq(["meta-data", "public-keys"])) {
        return text(format!("0={name}"));
    }
    let all = tree(region, instance);
    let mut found = Some(&all);
    for part in parts {
        found = found.and_then(|tree| tree.get(part));
    }
    match found {
        Some(Value::Object(folder)) => text(
            folder
                .iter()
                .map(|(name, value)| {
                    if value.is_object() {
                        format!("{name}/")
                    } else {
                        name.clone()
                    }
                })
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        Some(Value::String(leaf)) => text(leaf.clone()),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn text(body: String) -> Response {
    ([(CONTENT_TYPE, "text/plain")], body).into_response()
}

/// It says itself until when it is good, and the rest shows that it was given out here.
fn token(instance: &Instance, ends: i64) -> String {
    let sum = Sha256::digest(format!("{} {} {ends}", instance.id, instance.reservation_id));
    let sum: String = sum.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    format!("{ends:012}{sum}")
}

fn is_good(instance: &Instance, given: &str, now: Timestamp) -> bool {
    let ends = given.get(..12).and_then(|text| text.parse::<i64>().ok());
    ends.is_some_and(|ends| now.as_second() < ends && token(instance, ends) == given)
}

/// Folders and leaves below a version, all but user data.
fn tree(region: &Region, instance: &Instance) -> Value {
    let name = format!(
        "ip-{}.{}.compute.internal",
        instance.private_ip.replace('.', "-"),
        region.name
    );
    let mac = &instance.network_interface.mac_address;
    let groups: Vec<&str> = instance
        .security_groups
        .iter()
        .map(|group| group.group_name.as_str())
        .collect();
    let mut devices = json!({"ami": instance.root_device_name, "root": instance.root_device_name});
    let further = region
        .attached(&instance.id)
        .filter(|(_, attachment)| attachment.device != instance.root_device_name);
    for (number, (_, attachment)) in (1..).zip(further) {
        devices[format!("ebs{number}")] = json!(attachment.device.trim_start_matches("/dev/"));
    }
    let mut meta_data = json!({
        "ami-id": instance.image_id,
        "ami-launch-index": instance.launch_index.to_string(),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": devices,
        "hostname": name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": name,
        "local-ipv4": instance.private_ip,
        "mac": mac,
        "network": {"interfaces": {"macs": {mac.as_str(): {
            "device-number": "0",
            "interface-id": instance.network_interface.id,
            "local-hostname": name,
            "local-ipv4s": instance.private_ip,
            "mac": mac,
            "owner-id": region.account,
            "subnet-id": instance.subnet_id,
            "vpc-id": instance.vpc_id,
        }}}},
        "placement": {
            "availability-zone": instance.zone,
            "availability-zone-id": region.zone_id(&instance.zone).unwrap_or_default(),
            "region": region.name,
        },
        "profile": "default-hvm",
        "reservation-id": instance.reservation_id,
        "security-groups": groups.join("\n"),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    });
    if let Some(key) = &instance.public_key {
        meta_data["public-keys"] = json!({"0": {"openssh-key": key}});
    }
    if instance.metadata_options.instance_metadata_tags == "enabled" {
        meta_data["tags"] = json!({"instance": instance.tags.0});
    }
    let document = json!({
        "accountId": region.account,
        "architecture": instance.architecture,
        "availabilityZone": instance.zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "kernelId": null,
        "pendingTime": Time(instance.launched).to_string(),
        "privateIp": instance.private_ip,
        "ramdiskId": null,
        "region": region.name,
        "version": "2017-09-30",
    });
    json!({
        "dynamic": {"instance-identity": {"document": format!("{document:#}")}},
        "meta-data": meta_data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Request as Call, Simulator};

    const REGION: &str = "eu-central-1";

    /// Method, path and headers.
    type Question<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    /// What an instance launched with these parameters is answered.
    fn ask(launched: &str, asked: &[Question<'_>]) -> Vec<u16> {
        let now = Timestamp::UNIX_EPOCH;
        let mut simulator = Simulator::new(0, 1.0);
        let parameters = format!(
            "Version=2016-11-15&Action=RunInstances&ImageId=ami-0a200300000000001&InstanceType=m7i.large&MinCount=1\
             &MaxCount=1&SubnetId=subnet-0a100000000000001{launched}"
        );
        let authorization = format!("AWS4-HMAC-SHA256 Credential=me/20260101/{REGION}/ec2/aws4_request, ");
        let request = Call {
            authorization: Some(&authorization),
            parameters: parameters.as_bytes(),
        };
        let response = simulator.handle(now, request).response.unwrap();
        assert_eq!(response.status, 200, "{}", response.body);
        let region = &simulator.state.regions[REGION];
        let instance = region.instances.values().last().unwrap();
        let good = token(instance, now.as_second() + 60);
        let old = token(instance, now.as_second());
        let answer = |(method, path, headers): &Question<'_>| {
            let headers = headers.iter().map(|(name, value)| {
                let value = match *value {
                    "good" => &good,
                    "old" => &old,
                    other => other,
                };
                (name.parse().unwrap(), value.parse().unwrap())
            });
            let method = method.parse().unwrap();
            let answer = respond(region, instance, now, &method, path, &headers.collect());
            answer.status().as_u16()
        };
        asked.iter().map(answer).collect()
    }

    #[test]
    fn a_token_is_given_to_the_instance_alone_for_up_to_six_hours() {
        let path = "/latest/api/token";
        let seconds = |given| ("PUT", path, vec![(TOKEN_SECONDS, given)]);
        let asked = ["1", "21600", "0", "-1", "21601", "soon", "99999999999999999999"].map(seconds);
        let asked: Vec<_> = asked
            .iter()
            .map(|(method, path, headers)| (*method, *path, &headers[..]))
            .collect();
        assert_eq!(ask("", &asked), [200, 200, 400, 400, 400, 400, 400]);
        let asked: [Question<'_>; 2] = [
            ("PUT", path, &[]),
            ("PUT", path, &[(TOKEN_SECONDS, "60"), ("x-forwarded-for", "10.0.0.1")]),
        ];
        assert_eq!(ask("", &asked), [400, 403]);
    }

    #[test]
    fn without_a_good_token_nothing_is_told_and_of_what_there_is_not_never() {
        let required = "&MetadataOptions.HttpTokens=required";
        let id = "/latest/meta-data/instance-id";
        let asked: [Question<'_>; 11] = [
            ("GET", id, &[]),
            ("GET", id, &[(TOKEN, "")]),
            (
                "GET",
                id,
                &[(TOKEN, "000000000060ffffffffffffffffffffffffffffffffffffffff")],
            ),
            ("GET", id, &[(TOKEN, "old")]),
            ("GET", id, &[(TOKEN, "good")]),
            ("HEAD", id, &[(TOKEN, "good")]),
            ("POST", id, &[(TOKEN, "good")]),
            ("GET", "/latest/meta-data/tags/instance", &[(TOKEN, "good")]),
            ("GET", "/latest/nothing", &[(TOKEN, "good")]),
            ("GET", "/later/meta-data/instance-id", &[(TOKEN, "good")]),
            ("GET", "/latest/../../etc/passwd", &[(TOKEN, "good")]),
        ];
        assert_eq!(
            ask(required, &asked),
            [401, 401, 401, 401, 200, 200, 405, 404, 404, 404, 404]
        );
    }

    #[test]
    fn what_is_switched_on_and_off_is() {
        let tags: Question<'_> = ("GET", "/latest/meta-data/tags/instance", &[(TOKEN, "good")]);
        let token: Question<'_> = ("PUT", "/latest/api/token", &[(TOKEN_SECONDS, "60")]);
        assert_eq!(
            ask("&MetadataOptions.InstanceMetadataTags=enabled", &[tags, token]),
            [200, 200]
        );
        assert_eq!(
            ask("&MetadataOptions.HttpEndpoint=disabled", &[tags, token]),
            [403, 403]
        );
    }
}
