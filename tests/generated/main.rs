//! The files that are generated from the types are those in the repository. `make generate` writes them (`UPDATE=1`).

mod reference;

use std::path::Path;

use goldsmith::api::crds;

/// Fails if the file at `path`, from the repository's root, has another content.
fn current(path: &str, content: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().expect("a path below the package")).expect("the folder can be made");
        std::fs::write(&file, content).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == content,
        "{path} is not what the types say: run `make generate` and commit the result"
    );
}

#[test]
fn custom_resource_definitions_are_current() {
    for definition in crds() {
        let path = format!("crds/{}_{}.yaml", definition.spec.group, definition.spec.names.plural);
        current(
            &path,
            &serde_saphyr::to_string(&definition).expect("a definition is plain data"),
        );
    }
}

#[test]
fn the_reference_is_current() {
    for definition in crds() {
        let path = format!("docs/reference/{}.md", definition.spec.names.kind.to_lowercase());
        current(&path, &reference::page(&definition));
    }
}
