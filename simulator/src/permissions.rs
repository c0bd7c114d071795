//! Whom something is shared with, as ModifyImageAttribute and ModifySnapshotAttribute take it.

use serde::Deserialize;

use crate::protocol::Error;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "P: Deserialize<'de>")]
pub struct PermissionChanges<P> {
    #[serde(default = "Vec::new")]
    pub add: Vec<P>,
    #[serde(default = "Vec::new")]
    pub remove: Vec<P>,
}

impl<P: PartialEq> PermissionChanges<P> {
    /// The changes, given as the structure or as an operation and whom it names; none if neither is. `forms` says which forms there are.
    pub fn read(
        given: Option<Self>,
        operation: Option<&str>,
        named: Vec<P>,
        forms: &str,
    ) -> Result<Option<Self>, Error> {
        match (given, operation, named.is_empty()) {
            // Clients of old repeat beside the structure whom it names.
            (Some(changes), None, _) if named.iter().all(|permission| changes.names(permission)) => Ok(Some(changes)),
            (None, Some("add"), false) => Ok(Some(Self {
                add: named,
                remove: Vec::new(),
            })),
            (None, Some("remove"), false) => Ok(Some(Self {
                add: Vec::new(),
                remove: named,
            })),
            (None, None, true) => Ok(None),
            (None, Some(other), _) if !["add", "remove"].contains(&other) => {
                Err(Error::invalid(other, "operationType", "It must be add or remove."))
            }
            _ => Err(Error::combination(forms)),
        }
    }

    fn names(&self, permission: &P) -> bool {
        self.add.contains(permission) || self.remove.contains(permission)
    }
}
