use serde_json::json;

use super::*;

const START: Timestamp = Timestamp::constant(1_700_000_000, 0);

fn after(seconds: u64) -> Timestamp {
    START + std::time::Duration::from_secs(seconds)
}

/// A recipe with the status that is given, in JSON.
pub fn recipe(uid: &str, status: serde_json::Value) -> ImageRecipe {
    let builder =
        json!({"instanceTypes": ["m7i.large"], "subnets": {"ids": ["subnet-1"]}, "securityGroupIds": ["sg-1"]});
    serde_json::from_value(json!({
        "apiVersion": "goldsmith.dev/v1alpha1",
        "kind": "ImageRecipe",
        "metadata": {"namespace": "platform", "name": "web", "uid": uid},
        "spec": {
            "region": "eu-central-1",
            "build": {"source": {"ids": {"x86_64": "ami-1"}}, "builder": builder, "steps": [{"name": "a", "run": "true"}]},
            "image": {"name": "web-{{build}}"},
        },
        "status": status,
    }))
    .unwrap()
}

fn ready(status: &str) -> serde_json::Value {
    json!([{"type": "Ready", "status": status, "reason": "A", "message": "", "lastTransitionTime": "2023-11-14T22:13:20Z"}])
}

fn ended(build: i64) -> serde_json::Value {
    json!({
        "build": build, "result": "Succeeded", "reason": "SpecChanged", "contentHash": "", "name": "", "attempts": 1,
        "startTime": "2023-11-14T22:13:20Z", "endTime": "2023-11-14T22:18:20Z",
    })
}

pub fn in_phase(phase: &str) -> serde_json::Value {
    json!({"build": {"number": 1, "architectures": [{"architecture": "x86_64", "phase": phase}]}})
}

/// Everything that a status can have.
pub fn complete() -> serde_json::Value {
    json!({
        "conditions": ready("True"),
        "history": [ended(2), ended(1)],
        "latest": {
            "build": 2, "name": "web-2", "images": {"eu-central-1": {"x86_64": "ami-2"}},
            "bootMilliseconds": 12_500, "provenTime": "2023-11-14T22:13:20Z",
        },
    })
}

struct Scraped {
    recipes: Recipes,
    registry: Registry,
}

fn scraped() -> Scraped {
    let registry = Registry::new();
    Scraped {
        recipes: Recipes::new(&registry).unwrap(),
        registry,
    }
}

impl Scraped {
    /// All series but the buckets of histograms, as Prometheus reads them.
    fn lines(&self, now: Timestamp) -> Vec<String> {
        self.recipes.age(now);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap();
        let plain = |line: &&str| !line.starts_with('#') && !line.contains("_bucket{");
        text.lines().filter(plain).map(str::to_owned).collect()
    }

    fn has(&self, line: &str) -> bool {
        self.lines(START).iter().any(|found| found == line)
    }
}

const BUILDS: &str = r#"goldsmith_builds_total{reason="SpecChanged",result="succeeded"}"#;

#[test]
fn dashboards_see_the_condition_that_is_and_not_the_one_that_was() {
    let scraped = scraped();
    scraped
        .recipes
        .seen(&recipe("1", json!({"conditions": ready("False")})), true, START);
    scraped
        .recipes
        .seen(&recipe("1", json!({"conditions": ready("True")})), true, START);
    let series = |status: &str, value: u8| {
        format!(
            r#"goldsmith_status_condition{{kind="ImageRecipe",name="web",namespace="platform",status="{status}",type="Ready"}} {value}"#
        )
    };
    assert_eq!(
        scraped.lines(START),
        [series("False", 0), series("True", 1), series("Unknown", 0)]
    );
    scraped
        .recipes
        .seen(&recipe("1", json!({"conditions": []})), true, START);
    assert_eq!(scraped.lines(START), Vec::<String>::new());
}

#[test]
fn an_image_grows_older_between_two_events() {
    let scraped = scraped();
    scraped.recipes.seen(&recipe("1", complete()), true, START);
    let age = |seconds: u64| format!(r#"goldsmith_image_age_seconds{{namespace="platform",recipe="web"}} {seconds}"#);
    assert!(scraped.lines(after(60)).contains(&age(60)));
    assert!(scraped.lines(after(3600)).contains(&age(3600)));
    assert!(
        scraped.has(r#"goldsmith_image_boot_seconds{architecture="x86_64",namespace="platform",recipe="web"} 12.5"#)
    );
}

#[test]
fn a_build_is_counted_once_and_by_the_leader_alone() {
    let scraped = scraped();
    let with = |builds: &[i64]| {
        let history: Vec<_> = builds.iter().map(|build| ended(*build)).collect();
        recipe("1", json!({"history": history}))
    };
    // What had ended before this process began was counted by another.
    scraped.recipes.seen(&with(&[1]), true, START);
    assert!(!scraped.lines(START).iter().any(|line| line.starts_with(BUILDS)));
    scraped.recipes.seen(&with(&[2, 1]), true, START);
    scraped.recipes.seen(&with(&[2, 1]), true, START);
    assert!(scraped.has(&format!("{BUILDS} 1")));
    scraped.recipes.seen(&with(&[3, 2, 1]), false, START);
    scraped.recipes.seen(&with(&[3, 2, 1]), true, START);
    assert!(scraped.has(&format!("{BUILDS} 1")));
    assert!(scraped.has(r#"goldsmith_build_duration_seconds_sum{result="succeeded"} 300"#));
}

#[test]
fn only_a_phase_that_was_seen_from_its_beginning_is_measured() {
    let scraped = scraped();
    scraped.recipes.seen(&recipe("1", in_phase("Launching")), true, START);
    scraped
        .recipes
        .seen(&recipe("1", in_phase("Building")), true, after(10));
    scraped
        .recipes
        .seen(&recipe("1", in_phase("Building")), true, after(20));
    scraped
        .recipes
        .seen(&recipe("1", in_phase("Imaging")), true, after(100));
    scraped.recipes.seen(&recipe("1", json!({})), true, after(130));
    let lines = scraped.lines(START);
    assert!(
        lines.contains(&r#"goldsmith_build_phase_duration_seconds_sum{phase="building"} 90"#.to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&r#"goldsmith_build_phase_duration_seconds_sum{phase="imaging"} 30"#.to_owned()),
        "{lines:?}"
    );
    assert!(!lines.iter().any(|line| line.contains("launching")), "{lines:?}");
}

#[test]
fn nothing_of_an_object_that_is_gone_stays() {
    let gone: [fn(&Recipes); 3] = [
        |recipes| recipes.gone(&recipe("1", complete())),
        |recipes| recipes.listed(&BTreeSet::from(["another".to_owned()])),
        // Deleted and made again while nobody was looking.
        |recipes| recipes.seen(&recipe("2", json!({})), true, START),
    ];
    for gone in gone {
        let scraped = scraped();
        scraped.recipes.seen(&recipe("1", complete()), true, START);
        assert!(!scraped.lines(START).is_empty());
        gone(&scraped.recipes);
        assert_eq!(scraped.lines(START), Vec::<String>::new());
    }
}
