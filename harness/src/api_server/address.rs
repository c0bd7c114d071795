//! What a request is about, from its method, path and query.

use std::collections::BTreeMap;

use super::refusal::Refusal;

/// The kinds that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ConfigMap,
    Event,
    ImageRecipe,
    Lease,
    Namespace,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::ConfigMap,
        Self::Event,
        Self::ImageRecipe,
        Self::Lease,
        Self::Namespace,
    ];

    /// Group and version, as `apiVersion` has them.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap | Self::Namespace => "v1",
            Self::Event => "events.k8s.io/v1",
            Self::ImageRecipe => "goldsmith.dev/v1alpha1",
            Self::Lease => "coordination.k8s.io/v1",
        }
    }

    /// Its name in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Event => "events",
            Self::ImageRecipe => "imagerecipes",
            Self::Lease => "leases",
            Self::Namespace => "namespaces",
        }
    }

    /// Its name in objects.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Event => "Event",
            Self::ImageRecipe => "ImageRecipe",
            Self::Lease => "Lease",
            Self::Namespace => "Namespace",
        }
    }

    /// Its name in what the server says of it.
    pub fn qualified(self) -> String {
        match self.api_version().split_once('/') {
            Some((group, _)) => format!("{}.{group}", self.plural()),
            None => self.plural().to_owned(),
        }
    }

    fn find(api_version: &str, plural: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.api_version() == api_version && kind.plural() == plural)
    }
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    /// Empty for a kind that is in none.
    pub namespace: String,
    pub name: String,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The kinds of a group and version.
    Kinds(String),
    /// All objects of a kind, in one namespace or in all.
    Collection {
        kind: Kind,
        namespace: Option<String>,
    },
    Object {
        key: Key,
        status: bool,
    },
}

impl Address {
    /// # Errors
    /// The 404 for what is not served.
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        let unknown = || Refusal::not_served(path);
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let (api_version, rest) = match &segments[..] {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return Err(unknown()),
        };
        let kind = |plural: &str| Kind::find(&api_version, plural).ok_or_else(unknown);
        let object = |plural: &str, namespace: &str, name: &str, status| {
            let key = Key {
                kind: kind(plural)?,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            Ok(Self::Object { key, status })
        };
        match rest {
            [] => Ok(Self::Kinds(api_version)),
            ["namespaces", name] => object("namespaces", "", name, false),
            ["namespaces", namespace, plural] => Ok(Self::Collection {
                kind: kind(plural)?,
                namespace: Some((*namespace).to_owned()),
            }),
            ["namespaces", namespace, plural, name] => object(plural, namespace, name, false),
            ["namespaces", namespace, plural, name, "status"] => object(plural, namespace, name, true),
            [plural] => Ok(Self::Collection {
                kind: kind(plural)?,
                namespace: None,
            }),
            _ => Err(unknown()),
        }
    }
}

/// The parameters behind a path.
pub fn query(text: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}
