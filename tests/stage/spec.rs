//! What the recipes of the stories have in common.

use serde_json::{Value, json};

/// A recipe that is built in a few seconds, of which the first failure is the last.
pub fn spec() -> Value {
    json!({
        "region": "eu-central-1",
        "failureLimit": 1,
        "build": {
            "source": {"search": {"owners": ["amazon"], "name": "al2023-ami-2023.*-{{arch}}"}},
            "builder": {
                "instanceTypes": ["m7i.large"],
                "subnets": {"ids": ["subnet-0a100000000000001"]},
                "securityGroupIds": ["sg-0d200000000000001"],
            },
            "steps": [{"name": "packages", "run": "dnf -y install nginx"}],
        },
    })
}

/// A change of [`spec`]: its step takes longer, so that something can happen meanwhile.
pub fn long_step() -> Value {
    json!({"build": {"steps": [{"name": "packages", "run": "dnf -y install nginx\n#sim: after=3s"}]}})
}

/// `value` with `change` put over it as `kubectl patch --type=merge` does: objects are merged, null removes, anything else
/// replaces.
pub fn with(mut value: Value, change: &Value) -> Value {
    merge(&mut value, change);
    value
}

fn merge(value: &mut Value, change: &Value) {
    let Value::Object(changes) = change else {
        *value = change.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            value.as_object_mut().map(|fields| fields.remove(key));
        } else {
            merge(&mut value[key], change);
        }
    }
}
