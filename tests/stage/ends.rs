//! How most stories of one build end.

use super::{Recipe, Stage};

/// The one build has failed for that reason, and nothing is left of it.
pub fn fails(stage: &Stage, name: &str, reason: &str, words: &[&str]) {
    let recipe = stage.wait_stalled(name, reason);
    let message = recipe.message();
    for word in words {
        assert!(message.contains(word), "{name}: {word:?} is not in {message:?}");
    }
    assert_eq!(recipe.latest_image(), None, "{name}");
    assert_eq!(stage.launches(name, "builder"), 1, "{name}");
    stage.at_rest(name, 0);
}

/// The first build has succeeded in one attempt, and only its image is left.
pub fn succeeds(stage: &Stage, name: &str) -> Recipe {
    let recipe = stage.wait_ready(name);
    let history = recipe.status().history;
    assert_eq!(
        (recipe.latest_build(), history.len(), history[0].attempts),
        (Some(1), 1, 1),
        "{name}"
    );
    stage.at_rest(name, 1);
    recipe
}
