//! What the controller relies on of an API server: one suite, on the one in memory and on a real one.

mod suite;

use std::sync::Arc;

use goldsmith_harness::kubernetes;
use goldsmith_harness::plan::Plan;
use goldsmith_harness::process::Member;
use goldsmith_harness::turnstile::Turnstile;
use goldsmith_harness::world::World;
use goldsmith_lab::{Lab, Options};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_one_in_memory() {
    let world = World::new(&Plan::undisturbed("proven-image", 0)).expect("there is that story");
    world.begin();
    let turnstile = Arc::new(Turnstile::default());
    let client = kubernetes::client(&world, &turnstile, Member::FIRST);
    tokio::select! {
        () = suite::run(&client) => {}
        () = turnstile.drive() => {}
    }
}

#[tokio::test]
async fn a_real_one() {
    let lab = Lab::start(&Options::default()).expect("the lab starts");
    let kubeconfig = Kubeconfig::read_from(lab.admin_kubeconfig()).expect("the lab's kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.expect("a configuration")).expect("a client");
    suite::run(&client).await;
}
