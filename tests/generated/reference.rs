//! The reference page of a kind, from its schema: a section for each object in it, an entry for each field.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Markdown for the newest version of a kind.
pub fn page(definition: &CustomResourceDefinition) -> String {
    let (spec, names) = (&definition.spec, &definition.spec.names);
    let version = spec.versions.last().expect("a definition has a version");
    let schema = version
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .expect("a schema");
    let short = names
        .short_names
        .iter()
        .flatten()
        .map(|name| format!(", `{name}`"))
        .collect::<String>();
    let mut page = format!(
        "<!-- Generated from src/api by `make generate`. -->\n\n# {}\n\n{}\n\n`apiVersion: {}/{}`; for kubectl also `{}`{short}.\n",
        names.kind,
        text(schema),
        spec.group,
        version.name,
        names.plural,
    );
    refusals(&mut page, schema);
    for part in ["spec", "status"] {
        if let Some(schema) = schema.properties.as_ref().and_then(|properties| properties.get(part)) {
            section(&mut page, part, schema);
        }
    }
    page
}

/// An object: its fields, then a section for each object inside it.
fn section(page: &mut String, path: &str, schema: &JSONSchemaProps) {
    let _ = write!(page, "\n## {path}\n\n{}\n", text(schema));
    refusals(page, schema);
    page.push('\n');
    let required = schema.required.as_deref().unwrap_or_default();
    let fields = schema.properties.iter().flatten();
    for (name, field) in fields.clone() {
        let _ = write!(page, "- **`{name}`** ({}", kind(field));
        if required.contains(name) {
            page.push_str(", required");
        }
        if let Some(default) = field.default.as_ref().filter(|default| !default.0.is_object()) {
            let _ = write!(page, ", default `{}`", default.0.to_string().trim_matches('"'));
        }
        let _ = writeln!(page, "). {}", text(field));
        // Those of an object head its own section.
        for plain in [Some(field), element(field)]
            .into_iter()
            .flatten()
            .filter(|schema| schema.properties.is_none())
        {
            for rule in rules(plain) {
                let _ = writeln!(page, "  - {rule}");
            }
        }
    }
    for (name, field) in fields {
        for (suffix, object) in [("", Some(field)), ("[]", items(field)), (".*", values(field))] {
            // Conditions are Kubernetes' own and described there.
            if let Some(object) = object.filter(|object| object.properties.is_some() && name != "conditions") {
                section(page, &format!("{path}.{name}{suffix}"), object);
            }
        }
    }
}

/// What the API server refuses of an object as a whole.
fn refusals(page: &mut String, schema: &JSONSchemaProps) {
    let rules = rules(schema);
    if !rules.is_empty() {
        let _ = writeln!(page, "\n- {}", rules.join("\n- "));
    }
}

/// The rules of one schema, in the words in which the API server complains.
fn rules(schema: &JSONSchemaProps) -> Vec<String> {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    let worded =
        rules.filter_map(|rule| Some((rule.field_path.as_deref().unwrap_or_default(), rule.message.as_deref()?)));
    worded
        .map(|(path, message)| match path.trim_start_matches('.') {
            "" => message.to_owned(),
            path => format!("`{path}` {message}"),
        })
        .collect()
}

fn kind(schema: &JSONSchemaProps) -> String {
    if let Some(items) = items(schema) {
        let most = schema
            .max_items
            .map(|most| format!("at most {most}, "))
            .unwrap_or_default();
        return format!("list, {most}each {}", kind(items));
    }
    if let Some(values) = values(schema) {
        let most = schema
            .max_properties
            .map(|most| format!("at most {most}, "))
            .unwrap_or_default();
        return format!("map, {most}each {}", kind(values));
    }
    if let Some(values) = &schema.enum_ {
        let values: Vec<_> = values
            .iter()
            .map(|value| format!("`{}`", value.0.to_string().trim_matches('"')))
            .collect();
        return values.join(" or ");
    }
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some("string"), Some("date-time")) => "time".into(),
        (Some("string"), _) => match schema.max_length {
            Some(most) => format!("string of at most {most} characters"),
            None => "string".into(),
        },
        (Some("integer"), _) => match (schema.minimum, schema.maximum) {
            (Some(least), Some(most)) => format!("integer from {least} to {most}"),
            _ => "integer".into(),
        },
        (other, _) => other.unwrap_or("any").into(),
    }
}

fn element(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    items(schema).or_else(|| values(schema))
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

/// The description, without the breaks of its lines; a list in it stays one, inside the entry of a field.
fn text(schema: &JSONSchemaProps) -> String {
    let lines = schema.description.as_deref().unwrap_or_default().lines();
    let mut text = String::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if line.starts_with("- ") {
            text.push_str("\n  ");
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(line);
    }
    text
}
