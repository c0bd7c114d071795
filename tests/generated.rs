//! The files that are generated from the types are those in the repository. `make generate` writes them (`UPDATE=1`).
use std::path::{Path, PathBuf};

fn current(path: &str, text: &str) {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().expect("a path below the package")).expect("the folder can be made");
        std::fs::write(&file, text).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "{path} is not what the types say: run `make generate` and commit the result"
    );
}

#[test]
fn custom_resource_definitions_are_current() {
    for definition in goldsmith::api::crds() {
        let names = (&definition.spec.group, &definition.spec.names.plural);
        let yaml = serde_saphyr::to_string(&definition).expect("a definition is plain data");
        current(&format!("crds/{}_{}.yaml", names.0, names.1), &yaml);
    }
}
