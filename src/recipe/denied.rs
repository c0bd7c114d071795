//! Kubernetes does not let the controller at the records of a namespace, or does not take a change of one.

/// The ClusterRole of `deploy/rbac.yaml` that is bound in each namespace in which records are kept.
const ROLE: &str = "goldsmith-records";
/// The subject that `deploy/` makes.
const DEPLOYED: &str = "system:serviceaccount:goldsmith-system:goldsmith";

/// The records of builds in a namespace are denied; says which command allows them.
#[derive(Debug, thiserror::Error)]
#[error(
    "Kubernetes denies {user} the records of builds (ConfigMaps) in namespace {namespace}; bind the role{where_}: \
     kubectl create {binding} {subject} ({answer})",
    where_ = if *.deleted { ", for a namespace that goes takes no RoleBinding" } else { " there" },
    binding = binding(.namespace, *.deleted),
    subject = subject(user)
)]
pub struct RecordsDenied {
    namespace: String,
    user: String,
    answer: String,
    /// Whether the recipe is being deleted, with its namespace perhaps.
    deleted: bool,
}

impl RecordsDenied {
    /// `answer` is what the API server says; it names the user that the role has to be bound to.
    pub fn new(namespace: &str, answer: &str) -> Self {
        let named = answer
            .split_once("User \"")
            .and_then(|(_, rest)| Some(rest.split_once('"')?.0));
        Self {
            namespace: namespace.to_owned(),
            user: named.unwrap_or(DEPLOYED).to_owned(),
            answer: answer.to_owned(),
            deleted: false,
        }
    }

    /// Names a command that works in a namespace that goes, too.
    #[must_use]
    pub fn of_a_deleted_recipe(mut self) -> Self {
        self.deleted = true;
        self
    }
}

/// Kubernetes does not take a change of a build's record as it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "Kubernetes refuses to {verb} ConfigMap {name}, the record of a build; allow it in the policy, quota or role that refuses it, and delete \
     the ConfigMap if it is immutable, by which its build is forgotten ({answer})"
)]
pub struct RecordRefused {
    verb: &'static str,
    name: String,
    answer: String,
}

impl RecordRefused {
    /// Whether an answer of that HTTP status is about what was asked: not about who asks, when, or what has become of the object meanwhile.
    pub fn is(code: u16) -> bool {
        (400..500).contains(&code) && ![401, 404, 408, 409, 410, 429].contains(&code)
    }

    /// `answer` is what the API server says.
    pub fn new(verb: &'static str, name: &str, answer: &str) -> Self {
        Self {
            verb,
            name: name.to_owned(),
            answer: answer.to_owned(),
        }
    }
}

/// What `kubectl create` makes, but for whom it is.
fn binding(namespace: &str, deleted: bool) -> String {
    match deleted {
        true => format!("clusterrolebinding {ROLE} --clusterrole {ROLE}"),
        false => format!("rolebinding {ROLE} --namespace {namespace} --clusterrole {ROLE}"),
    }
}

/// `user` as `kubectl create rolebinding` takes it.
fn subject(user: &str) -> String {
    let account = user.strip_prefix("system:serviceaccount:");
    account.map_or_else(
        || format!("--user \"{user}\""),
        |account| format!("--serviceaccount {account}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_binds_the_role_to_whoever_was_denied() {
        for (answer, subject) in [
            (
                "configmaps is forbidden: User \"system:serviceaccount:images:builder\" cannot list resource \
                 \"configmaps\" in API group \"\" in the namespace \"web\"",
                "--serviceaccount images:builder (",
            ),
            (
                "configmaps is forbidden: User \"jane@example.com\" cannot list resource \"configmaps\"",
                "--user \"jane@example.com\" (",
            ),
            ("no", "--serviceaccount goldsmith-system:goldsmith (no)"),
        ] {
            let denied = RecordsDenied::new("web", answer).to_string();
            let command = format!(
                "kubectl create rolebinding goldsmith-records --namespace web --clusterrole goldsmith-records {subject}"
            );
            assert!(denied.contains(&command), "{denied}");
        }
    }

    #[test]
    fn a_namespace_that_goes_takes_no_role_binding() {
        let denied = RecordsDenied::new("web", "no").of_a_deleted_recipe().to_string();
        let command = "kubectl create clusterrolebinding goldsmith-records --clusterrole goldsmith-records \
                       --serviceaccount goldsmith-system:goldsmith (";
        assert!(denied.contains(command), "{denied}");
    }
}
