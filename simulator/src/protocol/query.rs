//! Reading requests: a serde deserializer over flattened parameters.
//!
//! `Filter.1.Name=state&Filter.1.Value.1=running` is a list of structures. Parameters are gathered into a tree by
//! their dots; numbered children are a list. A parameter that no field takes is an error, never ignored.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::Error;

/// How many parts a parameter's name may have.
const DEEPEST: usize = 12;

/// A request's parameters as a tree.
#[derive(Debug, Default)]
pub struct Parameters {
    value: Option<String>,
    children: BTreeMap<String, Parameters>,
}

impl Parameters {
    /// Builds the tree from name and value pairs in any order.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Error> {
        let mut root = Self::default();
        for (name, value) in pairs {
            // EC2 nests no deeper than six; a tree of any depth could not even be dropped.
            if name.split('.').count() > DEEPEST {
                return Err(unknown(name));
            }
            let leaf = name.split('.').fold(&mut root, |node, part| {
                node.children.entry(part.to_owned()).or_default()
            });
            if leaf.value.replace(value.to_owned()).is_some() {
                return Err(Error::new(
                    "InvalidParameter",
                    format!("The parameter {name} is given more than once"),
                ));
            }
        }
        Ok(root)
    }

    /// Reads the request an operation wants.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(Node {
            tree: self,
            path: String::new(),
        })
    }
}

/// An optional text of which EC2 takes an empty one for none. Clients that always send the parameter count on it.
pub fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

impl de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Error::new("InvalidParameterValue", message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Error::missing(field)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Error::new(
            "InvalidParameterValue",
            format!("Value ({variant}) is not one of {}", expected.join(", ")),
        )
    }
}

struct Node<'a> {
    tree: &'a Parameters,
    path: String,
}

impl<'a> Node<'a> {
    fn child(&self, name: &str, tree: &'a Parameters) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Node { tree, path }
    }

    fn text(&self) -> Result<&'a str, Error> {
        if let Some(child) = self.tree.children.keys().next() {
            return Err(unknown(&format!("{}.{child}", self.path)));
        }
        Ok(self.tree.value.as_deref().unwrap_or_default())
    }

    fn parse<T: std::str::FromStr>(&self, what: &str) -> Result<T, Error> {
        let text = self.text()?;
        text.parse()
            .map_err(|_| Error::invalid(text, &self.path, format_args!("It must be {what}.")))
    }

    /// The first parameter at or below this node, in full.
    fn leaf(&self) -> String {
        let (mut path, mut tree) = (self.path.clone(), self.tree);
        while let (None, Some((name, child))) = (&tree.value, tree.children.iter().next()) {
            path = format!("{path}.{name}");
            tree = child;
        }
        path
    }
}

fn unknown(parameter: &str) -> Error {
    Error::new(
        "UnknownParameter",
        format!("The parameter {parameter} is not recognized"),
    )
}

macro_rules! scalars {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.parse::<$type>($what)?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Node<'_> {
    type Error = Error;

    scalars! {
        deserialize_u16 visit_u16 u16, "a whole number";
        deserialize_u32 visit_u32 u32, "a whole number";
        deserialize_u64 visit_u64 u64, "a whole number";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text()? {
            "true" | "True" => visitor.visit_bool(true),
            "false" | "False" => visitor.visit_bool(false),
            other => Err(Error::invalid(other, &self.path, "It must be true or false.")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.text()?;
        let variant: StrDeserializer<'_, Error> = text.into_deserializer();
        visitor
            .visit_enum(variant)
            .map_err(|error| Error::invalid(text, &self.path, error.message))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.tree.value.is_some() {
            return Err(Error::new(
                "InvalidParameter",
                format!(
                    "The parameter {0} is a list; name its members {0}.1, {0}.2, ...",
                    self.path
                ),
            ));
        }
        let mut members = Vec::with_capacity(self.tree.children.len());
        for (name, tree) in &self.tree.children {
            let node = self.child(name, tree);
            let position: u32 = name.parse().map_err(|_| unknown(&node.leaf()))?;
            members.push((position, node));
        }
        members.sort_by_key(|(position, _)| *position);
        visitor.visit_seq(List(members.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.tree.value.is_some() {
            return Err(Error::new(
                "InvalidParameter",
                format!("The parameter {} is a structure", self.path),
            ));
        }
        let path = self.path.clone();
        let fields = Fields {
            children: self.tree.children.iter(),
            parent: self,
            next: None,
        };
        visitor
            .visit_map(fields)
            .map_err(|error| match error.message.strip_prefix(MISSING) {
                Some(field) if !path.is_empty() && !field.contains('.') => {
                    Error::missing(format_args!("{path}.{field}"))
                }
                _ => error,
            })
    }

    /// serde asks for what no field takes with this.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(unknown(&self.leaf()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct map identifier
    }
}

/// How [`Error::missing`] begins; a nested structure puts its own path before the field.
const MISSING: &str = "The request must contain the parameter ";

struct List<'a>(std::vec::IntoIter<(u32, Node<'a>)>);

impl<'de> de::SeqAccess<'de> for List<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|(_, node)| seed.deserialize(node)).transpose()
    }
}

struct Fields<'a> {
    children: std::collections::btree_map::Iter<'a, String, Parameters>,
    parent: Node<'a>,
    next: Option<Node<'a>>,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, tree)) = self.children.next() else {
            return Ok(None);
        };
        self.next = Some(self.parent.child(name, tree));
        let name: StrDeserializer<'_, Error> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.next.take() {
            Some(node) => seed.deserialize(node),
            None => Err(de::Error::custom("a value was asked for before its name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Request {
        image_id: String,
        min_count: Option<u32>,
        #[serde(rename = "Filter", default)]
        filters: Vec<Filter>,
        behavior: Option<Behavior>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Filter {
        name: String,
        #[serde(rename = "Value", default)]
        values: Vec<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Behavior {
        Stop,
        Terminate,
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Request, Error> {
        Parameters::new(pairs.iter().copied())?.read()
    }

    #[test]
    fn lists_are_ordered_by_number_not_by_text() {
        let pairs: Vec<(String, String)> = (1..=11)
            .map(|n| (format!("Filter.1.Value.{n}"), n.to_string()))
            .collect();
        let mut all: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        all.extend([("ImageId", "ami-1"), ("Filter.1.Name", "x"), ("Behavior", "stop")]);
        let request = read(&all).unwrap();
        assert_eq!(request.filters[0].values[1], "2");
        assert_eq!(request.filters[0].values[10], "11");
        assert_eq!(request.behavior, Some(Behavior::Stop));
    }

    #[test]
    fn a_name_of_a_million_parts_is_refused() {
        let name = "a.".repeat(1_000_000);
        assert_eq!(read(&[(&name, "x")]).unwrap_err().code, "UnknownParameter");
    }

    #[test]
    fn what_is_wrong_is_named_in_full() {
        type Row = (&'static [(&'static str, &'static str)], &'static str, &'static str);
        let table: &[Row] = &[
            (&[], "MissingParameter", "ImageId"),
            (
                &[("ImageId", "a"), ("Filter.1.Value.1", "x")],
                "MissingParameter",
                "Filter.1.Name",
            ),
            (&[("ImageId", "a"), ("Foo.1.Bar", "x")], "UnknownParameter", "Foo.1.Bar"),
            (
                &[("ImageId", "a"), ("Filter.1.Name", "x"), ("Filter.1.Nam", "x")],
                "UnknownParameter",
                "Filter.1.Nam",
            ),
            (
                &[("ImageId", "a"), ("MinCount", "two")],
                "InvalidParameterValue",
                "MinCount",
            ),
            (
                &[("ImageId", "a"), ("Behavior", "sleep")],
                "InvalidParameterValue",
                "stop, terminate",
            ),
            (&[("ImageId.1", "a")], "UnknownParameter", "ImageId.1"),
            (&[("ImageId", "a"), ("ImageId", "b")], "InvalidParameter", "ImageId"),
            (&[("ImageId", "a"), ("Filter", "b")], "InvalidParameter", "Filter.1"),
        ];
        for (pairs, code, part) in table {
            let error = read(pairs).unwrap_err();
            assert_eq!(error.code, *code, "{pairs:?}: {error}");
            assert!(error.message.contains(part), "{pairs:?}: {error}");
        }
    }
}
