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
