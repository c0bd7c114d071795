//! What users do.

use serde_json::{Value, json};

use crate::world::World;

/// Names of all stories.
pub const STORIES: [&str; 6] = [
    "proven-image",
    "second-attempt",
    "deleted",
    "deleted-late",
    "check-fails",
    "secret-left",
];

/// Does what the users of `story` do at its beginning.
///
/// # Errors
/// When there is no such story, or the API server takes something no user could write.
pub fn begin(story: &str, world: &World) -> Result<(), String> {
    match story {
        "proven-image" | "deleted" | "deleted-late" => world.apply(&recipe("web")),
        // Somebody terminates the first builder.
        "second-attempt" => {
            let mut recipe = recipe("web");
            recipe["spec"]["failureLimit"] = 2.into();
            world.apply(&recipe)
        }
        // Of an image that nobody can vouch for nothing is ever proven.
        "check-fails" => {
            let mut recipe = recipe("web");
            recipe["spec"]["test"] = json!({"checks": [{"name": "nginx", "run": "#sim: exit=1", "timeout": "1s"}]});
            world.apply(&recipe)
        }
        "secret-left" => {
            let mut recipe = recipe("web");
            recipe["spec"]["build"]["steps"][0]["run"] = "#sim: leave=/root/.ssh/id_ed25519".into();
            world.apply(&recipe)
        }
        _ => Err(format!("there is no story {story}; there are {}", STORIES.join(", "))),
    }
}

/// What kstatus says of a story's recipe at its end, if it is still there.
pub fn end(story: &str) -> &'static str {
    match story {
        "check-fails" | "secret-left" => "Failed",
        _ => "Current",
    }
}

/// A recipe that is built in a few minutes, of which the first failure would be the last.
pub fn recipe(name: &str) -> Value {
    json!({
        "apiVersion": "goldsmith.dev/v1alpha1",
        "kind": "ImageRecipe",
        "metadata": {"name": name, "namespace": "platform"},
        "spec": {
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
        },
    })
}
