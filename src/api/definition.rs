//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::ImageRecipe;

/// The definitions of all kinds: what `goldsmith crds` prints and `crds/` holds.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [ImageRecipe::crd()].into_iter().map(finished).collect()
}

/// Adds what the derive of a kind has no word for.
fn finished(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        each(root, &mut not_nullable);
        if let Some(status) = root
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"))
        {
            // Defaults there are for reading an older status; the API server is not to invent a part that nobody reported.
            each(status, &mut |schema| schema.default = None);
            // kstatus takes an object without any status for finished; this one is not.
            status.default = Some(JSON(json!({"observedGeneration": -1})));
        }
    }
    definition
}

/// An optional field may be left out, but is never `null`: rules then need to ask only `has(self.field)`.
fn not_nullable(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema
        .enum_
        .iter_mut()
        .for_each(|values| values.retain(|value| !value.0.is_null()));
}

/// Applies `change` to a schema and to every one inside it.
fn each(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(|property| each(property, change));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        each(items, change);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        each(values, change);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::{Build, Builder, ImageRecipeSpec, ImageSettings, Rebuild, Test};

    fn schemas() -> BTreeMap<String, JSONSchemaProps> {
        fn collect(path: &str, schema: &JSONSchemaProps, into: &mut BTreeMap<String, JSONSchemaProps>) {
            into.insert(path.to_owned(), schema.clone());
            for (name, property) in schema.properties.iter().flatten() {
                collect(&format!("{path}.{name}"), property, into);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                collect(&format!("{path}[]"), items, into);
            }
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                collect(&format!("{path}.*"), values, into);
            }
        }
        let mut all = BTreeMap::new();
        for definition in crds() {
            let schema = definition.spec.versions[0]
                .schema
                .clone()
                .and_then(|schema| schema.open_api_v3_schema);
            collect(&definition.spec.names.kind, &schema.unwrap_or_default(), &mut all);
        }
        assert!(all.len() > 100, "the schema was not walked");
        all
    }

    #[test]
    fn every_field_is_explained_by_kubectl() {
        for (path, schema) in schemas() {
            let own = !path.ends_with("[]") && !path.ends_with(".*");
            assert!(!own || schema.description.is_some(), "{path} has no description");
            // Kubernetes' own types bring Go's documentation with them.
            assert!(
                !schema.description.unwrap_or_default().contains("wrapper around"),
                "{path} is not described by us"
            );
        }
    }

    #[test]
    fn what_api_servers_warn_of_or_users_trip_over_is_absent() {
        for (path, schema) in schemas() {
            let format = schema.format.as_deref();
            assert!(
                matches!(format, None | Some("int32" | "int64" | "date-time")),
                "{path}: format {format:?}"
            );
            assert_ne!(
                schema.type_.as_deref(),
                Some("number"),
                "{path} is a floating-point number"
            );
            assert_eq!(
                schema.x_kubernetes_preserve_unknown_fields, None,
                "{path} lets misspelt fields pass"
            );
            assert_eq!(schema.nullable, None, "{path} may be null, which rules don't expect");
        }
    }

    #[test]
    fn every_list_says_how_it_merges() {
        for (path, schema) in schemas()
            .into_iter()
            .filter(|(_, schema)| schema.type_.as_deref() == Some("array"))
        {
            let expected = if path.ends_with(".conditions") { "map" } else { "atomic" };
            assert_eq!(schema.x_kubernetes_list_type.as_deref(), Some(expected), "{path}");
        }
    }

    /// A recipe that is stored without a field, and one made by the program, mean the same.
    #[test]
    fn defaults_of_the_api_server_are_those_of_the_types() {
        let defaults = |path: &str| {
            let found = schemas().remove(path).and_then(|schema| schema.default);
            found.unwrap_or_else(|| panic!("{path} has no default")).0
        };
        let written = |value: serde_json::Result<serde_json::Value>| value.expect("plain data");
        assert_eq!(
            defaults("ImageRecipe.spec.test"),
            written(serde_json::to_value(Test::default()))
        );
        assert_eq!(
            defaults("ImageRecipe.spec.image"),
            written(serde_json::to_value(ImageSettings::default()))
        );
        assert_eq!(
            defaults("ImageRecipe.spec.rebuild"),
            written(serde_json::to_value(Rebuild::default()))
        );

        let least = json!({"region": "eu-central-1", "build": {"source": {"ids": {"x86_64": "ami-0123456789abcdef0"}}, "builder": {
            "instanceTypes": ["m7i.large"], "subnets": {"ids": ["subnet-0123456789abcdef0"]}, "securityGroupIds": ["sg-0123456789abcdef0"]}}});
        let ImageRecipeSpec {
            suspend,
            account,
            failure_limit,
            history_limit,
            test,
            image,
            build,
            ..
        } = serde_json::from_value(least).expect("the least that a recipe says");
        assert_eq!(
            json!([suspend, account, failure_limit, history_limit]),
            json!(
                ["suspend", "account", "failureLimit", "historyLimit"]
                    .map(|field| defaults(&format!("ImageRecipe.spec.{field}")))
            )
        );
        assert_eq!((test, image), (Test::default(), ImageSettings::default()));
        let Build {
            architectures,
            builder: Builder { timeout, .. },
            ..
        } = build;
        assert_eq!(json!(architectures), defaults("ImageRecipe.spec.build.architectures"));
        assert_eq!(json!(timeout), defaults("ImageRecipe.spec.build.builder.timeout"));
    }
}
