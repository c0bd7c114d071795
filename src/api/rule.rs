//! CEL rules that several fields share.

use kube::core::{Message, Rule};

/// CEL that is true for the text of a Go duration without a sign, in hours, minutes, seconds or milliseconds. Fewer digits
/// than CEL's `duration()` could overflow on, so that it may follow after `&&`.
pub(super) fn is_duration(text: &str) -> String {
    format!(r"{text}.matches('^([0-9]{{1,6}}([.][0-9]{{1,3}})?(h|m|s|ms))+$')")
}

/// A duration of at least `least` and at most `most`, both in the notation that the field itself has.
pub(super) fn duration_between(least: &str, most: &str) -> Rule {
    let syntax = is_duration("self");
    Rule::new(format!("{syntax} && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')")).message(Message::Message(
        format!("must be a duration from {least} to {most} in hours, minutes and seconds, such as 90s or 1h30m; there is no unit for days"),
    ))
}

/// No element of a list of strings occurs twice.
pub(super) fn distinct() -> Rule {
    Rule::new("self.all(item, self.exists_one(other, other == item))").message(Message::Expression(
        "self.filter(item, !self.exists_one(other, other == item))[0] + ' is named twice: remove the duplicate'".into(),
    ))
}

/// No two elements of a list have the same value in `field`.
pub(super) fn distinct_by(field: &str) -> Rule {
    let unique = format!("self.exists_one(other, other.{field} == item.{field})");
    Rule::new(format!("self.all(item, {unique})")).message(Message::Expression(format!(
        "'two have the {field} ' + self.map(item, !{unique}, item.{field})[0] + ': rename or remove one of them'"
    )))
}

/// A shell script, or a part of one: a shell can't hold a NUL, and EC2's answers can't carry it.
pub(super) fn without_nul() -> Rule {
    Rule::new(r"!self.contains('\u0000')").message(Message::Message(
        "must not contain a NUL character, which a shell script cannot hold: remove it".into(),
    ))
}

/// A script of which something is left once blanks are taken away.
pub(super) fn not_blank() -> Rule {
    Rule::new(r"self.matches(r'\S')").message(Message::Message(
        "must hold at least one command, not only blanks: write the script".into(),
    ))
}

/// The value can't be changed after creation.
pub(super) fn immutable(why: &str) -> Rule {
    Rule::new("self == oldSelf").message(Message::Message(format!("is immutable: {why}")))
}
