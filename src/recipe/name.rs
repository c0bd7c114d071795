//! The image's name, rendered from its template once a build.

use jiff::Timestamp;
use minijinja::{Environment, UndefinedBehavior, context};

/// What a template may refer to.
pub struct NameParts<'a> {
    /// Name of the recipe: `{{recipe}}`.
    pub recipe: &'a str,
    /// `{{namespace}}`.
    pub namespace: &'a str,
    /// Number of the build: `{{build}}`.
    pub build: i64,
    /// EC2's name of it: `{{arch}}`.
    pub architecture: &'a str,
    /// Its first twelve digits are `{{hash}}`.
    pub content_hash: &'a str,
    /// When the build began; its day in UTC is `{{date}}`.
    pub start: Timestamp,
}

/// A name that EC2 would refuse, or a template that does not render.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidName {
    /// It does not render: its syntax is wrong, or it names something unknown.
    #[error(
        "spec.image.name: {0}; a template holds text and {{{{recipe}}}}, {{{{namespace}}}}, {{{{date}}}}, {{{{build}}}}, {{{{arch}}}}, {{{{hash}}}}"
    )]
    Template(String),
    /// It renders, and EC2 does not take as many or as few characters.
    #[error("spec.image.name: it renders to {name:?}, which has {length} characters; EC2 takes 3 to 128: shorten it")]
    Length {
        /// As rendered, its first 200 characters.
        name: String,
        /// In characters.
        length: usize,
    },
    /// It renders, and EC2 does not take one of the characters.
    #[error(
        "spec.image.name: it renders to {name:?}, where EC2 does not take {character:?}; letters, digits, spaces and ()[]./-'@_ are taken"
    )]
    Character {
        /// As rendered.
        name: String,
        /// The first that is not taken.
        character: char,
    },
}

/// Renders the template `spec.image.name`.
///
/// Rule: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html>
pub fn image_name(template: &str, parts: &NameParts<'_>) -> Result<String, InvalidName> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let hash = parts.content_hash.get(..12).unwrap_or(parts.content_hash);
    let values = context! {
        recipe => parts.recipe,
        namespace => parts.namespace,
        build => parts.build,
        arch => parts.architecture,
        hash => hash,
        date => parts.start.strftime("%Y-%m-%d").to_string(),
    };
    let name = environment
        .render_str(template, values)
        .map_err(|error| InvalidName::Template(error.to_string()))?;
    let length = name.chars().count();
    if !(3..=128).contains(&length) {
        let name = name.chars().take(200).collect();
        return Err(InvalidName::Length { name, length });
    }
    match name
        .chars()
        .find(|character| !character.is_ascii_alphanumeric() && !"()[] ./-'@_".contains(*character))
    {
        Some(character) => Err(InvalidName::Character { name, character }),
        None => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> Result<String, InvalidName> {
        let start = "2026-11-23T08:00:00Z".parse().expect("a timestamp");
        let parts = NameParts {
            recipe: "web",
            namespace: "platform",
            build: 7,
            architecture: "arm64",
            content_hash: "0123456789abcdef",
            start,
        };
        image_name(template, &parts)
    }

    #[test]
    fn names_are_what_the_template_says() {
        for (template, name) in [
            ("{{recipe}}-{{date}}-v{{build}}", "web-2026-11-23-v7"),
            (
                "{{ namespace }}/{{recipe}} ({{arch}}) {{hash}}",
                "platform/web (arm64) 0123456789ab",
            ),
        ] {
            assert_eq!(render(template).as_deref(), Ok(name));
        }
    }

    #[test]
    fn what_ec2_would_refuse_is_refused_before_with_the_way_out() {
        for (template, phrase) in [
            ("v", "3 to 128"),
            (&"x".repeat(129), "129 characters"),
            ("web:{{build}}", "does not take ':'"),
            ("{{unknown}}-{{build}}", "undefined"),
            ("{{recipe", "spec.image.name"),
        ] {
            let error = render(template).expect_err(template).to_string();
            assert!(error.contains(phrase), "{template}: {error}");
        }
    }
}
