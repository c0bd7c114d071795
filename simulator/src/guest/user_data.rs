//! Goldsmith's user data: a compressed shell script whose data are the assignments that begin a line.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;

/// The data of a script, by name.
pub(super) struct Script {
    values: BTreeMap<String, String>,
}

impl Script {
    /// None for user data of others.
    pub(super) fn read(user_data: &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        if user_data.starts_with(&[0x1f, 0x8b]) {
            // Sixty times what EC2 accepts; nobody's script.
            GzDecoder::new(user_data).take(1 << 20).read_to_end(&mut text).ok()?;
        } else {
            text.extend_from_slice(user_data);
        }
        let text = String::from_utf8_lossy(&text);
        let mut values = BTreeMap::new();
        let mut rest = text.as_ref();
        while !rest.is_empty() {
            match rest.strip_prefix("GOLDSMITH_").and_then(assignment) {
                Some((name, value, after)) => {
                    values.insert(name.to_owned(), value);
                    rest = after;
                }
                None => rest = rest.split_once('\n').map_or("", |(_, after)| after),
            }
        }
        values.contains_key("ROLE").then_some(Self { values })
    }

    /// Empty if there is no such datum.
    pub(super) fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    pub(super) fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.number(name))
    }
}

/// `NAME=digits` or `NAME='text'` in which `'\''` stands for a quote: name, value, and what follows the line.
fn assignment(text: &str) -> Option<(&str, String, &str)> {
    let (name, mut rest) = text.split_once('=')?;
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    {
        return None;
    }
    if !rest.starts_with('\'') {
        let (value, after) = rest.split_once('\n')?;
        return Some((name, value.to_owned(), after));
    }
    let mut value = String::new();
    loop {
        let (quoted, after) = rest.strip_prefix('\'')?.split_once('\'')?;
        value.push_str(quoted);
        match after.strip_prefix("\\'") {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((name, value, after.strip_prefix('\n')?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_found_between_functions_and_may_span_lines() {
        let text = "#!/bin/sh\nGOLDSMITH_LIFETIME=60\nshow() {\n  echo \"$GOLDSMITH_NONCE\"\n}\nGOLDSMITH_ROLE='builder'\n\
                    GOLDSMITH_STEP_1_RUN='echo '\\''hello'\\''\nGOLDSMITH_ROLE=no\n'\nmain \"$@\"\n";
        let script = Script::read(text.as_bytes()).unwrap();
        assert_eq!(script.seconds("LIFETIME"), Duration::from_secs(60));
        assert_eq!(script.text("ROLE"), "builder");
        assert_eq!(script.text("STEP_1_RUN"), "echo 'hello'\nGOLDSMITH_ROLE=no\n");
        assert!(!script.has("NONCE"));
    }

    #[test]
    fn user_data_of_others_is_left_alone() {
        for text in [
            "",
            "#!/bin/sh\necho hello\n",
            "#cloud-config\n{}\n",
            "GOLDSMITH_ROLE='unfinished",
            "\u{1f}\u{8b}",
        ] {
            assert!(Script::read(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
