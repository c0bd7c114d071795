//! Durations as Kubernetes writes them (`90s`, `1h30m`), without a unit for days.

use std::time::Duration;

/// A duration of a spec that the CRD's rules would have refused, on an object that is older than the rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {text:?} is not a duration; write hours, minutes and seconds, such as 90s or 1h30m")]
pub struct InvalidDuration {
    /// Path of the field in the object.
    pub field: String,
    /// What it holds.
    pub text: String,
}

/// What the CRD's rules allow; also short enough that no sum of parts overflows (15 digits of hours are 4·10¹⁸ seconds).
const MAXIMUM_LENGTH: usize = 16;

/// The duration that `text`, the value of the field at path `field`, stands for. Longer than zero.
pub fn parse(field: impl Into<String>, text: &str) -> Result<Duration, InvalidDuration> {
    let plain = text.len() <= MAXIMUM_LENGTH
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'h' | b'm' | b's'));
    let parsed = if plain {
        text.parse::<kube::core::Duration>().ok()
    } else {
        None
    };
    match parsed.map(Duration::from) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(InvalidDuration {
            field: field.into(),
            text: text.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_kubernetes_knows_are_read() {
        for (text, milliseconds) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("720h", 2_592_000_000),
            ("0.5s", 500),
        ] {
            assert_eq!(
                parse("spec.x", text).map(|duration| duration.as_millis() as u64),
                Ok(milliseconds),
                "{text}"
            );
        }
    }

    #[test]
    fn everything_else_names_the_field_and_a_way_out() {
        for text in [
            "",
            "0",
            "0s",
            "1d",
            "90",
            "s",
            "-5m",
            "+5m",
            "1h-5m",
            "1e9h",
            "5 minutes",
            "PT5M",
            ".",
            "1..5h",
            "9999999999999999h",
            "٣s",
        ] {
            let error = parse("spec.build.builder.timeout", text).expect_err(text).to_string();
            assert!(
                error.starts_with("spec.build.builder.timeout: ") && error.contains("such as 90s"),
                "{error}"
            );
        }
        assert!(
            parse("spec.x", "999999999999999h").is_ok(),
            "the longest possible text must not overflow"
        );
    }
}
