//! What nobody claims any more is swept. On a stage of its own: the controller is killed in it, and a recipe that is deleted between the
//! announcement of a launch and the launch waits five minutes for what may show.

use std::process::ExitCode;

use goldsmith::api::Phase;
use goldsmith_lab::Options;
use stage::{Stage, long_step, spec, stories, with};

fn main() -> ExitCode {
    stage::tell(
        &Options::default(),
        stories![what_a_recipe_without_finalizer_leaves_is_swept],
    )
}

fn what_a_recipe_without_finalizer_leaves_is_swept(stage: &Stage) {
    stage.apply("swept", with(spec(), &long_step()));
    stage.wait("swept", "in its proof", |recipe| recipe.phase() == Some(Phase::Proving));
    stage.lab.kill_controller();
    stage.kubectl(&[
        "patch",
        "imagerecipe",
        "swept",
        "--type=merge",
        r#"--patch={"metadata": {"finalizers": null}}"#,
    ]);
    stage.delete("swept");
    assert_ne!(
        stage.inventory("swept").temporary(),
        Vec::<&stage::Thing>::new(),
        "it was in the middle of a proof"
    );
    stage.lab.start_controller().expect("it starts again");
    stage.at_rest("swept", 0);
}
