//! What every Describe operation shares: filters and pages over the items of its response.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::protocol::Error;
use crate::tags::Tags;

const MOST_FILTERS: usize = 50;
/// Of all filters of a call together.
const MOST_FILTER_VALUES: usize = 200;
/// Of a page's token.
const CHECKSUM_BYTES: usize = 6;

/// `Filter.N`: a field's name and the values of which one must match; without values nothing does.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filter {
    pub name: Option<String>,
    #[serde(rename = "Value", default)]
    pub values: Vec<String>,
}

/// A filter's name, and the values an item has for it.
pub type Field<T> = (&'static str, fn(&T) -> Vec<String>);

/// One item of a Describe operation's response.
pub trait Described: Sized + 'static {
    /// Every filter over what an item here has, but for `tag:KEY` and `tag-key`.
    const FILTERS: &'static [Field<Self>];

    /// Filters that EC2 knows too, over what no item here has: nothing matches them.
    const EMPTY_FILTERS: &'static [&'static str] = &[];

    /// What pages are ordered by.
    fn id(&self) -> String;

    fn tags(&self) -> &Tags {
        Tags::NONE
    }
}

/// AWS's bounds for `MaxResults`.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub least: u32,
    pub most: u32,
    /// Whether a larger number is taken for the most instead of refused.
    pub capped: bool,
}

impl Bounds {
    pub const fn capped(least: u32, most: u32) -> Self {
        Self {
            least,
            most,
            capped: true,
        }
    }

    pub const fn strict(least: u32, most: u32) -> Self {
        Self {
            least,
            most,
            capped: false,
        }
    }
}

/// Which page of the answer is wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub max_results: Option<u32>,
    pub next_token: Option<String>,
}

/// The items that match every filter, ordered by id.
pub fn select<T: Described>(items: Vec<T>, filters: &[Filter]) -> Result<Vec<T>, Error> {
    if filters.len() > MOST_FILTERS {
        let message = format!("The maximum number of filters specified on a single call is {MOST_FILTERS}");
        return Err(Error::new("FilterLimitExceeded", message));
    }
    if filters.iter().map(|filter| filter.values.len()).sum::<usize>() > MOST_FILTER_VALUES {
        let message = format!("The maximum number of filter values specified on a single call is {MOST_FILTER_VALUES}");
        return Err(Error::new("FilterLimitExceeded", message));
    }
    let tests = filters.iter().map(test::<T>).collect::<Result<Vec<_>, _>>()?;
    let mut items: Vec<T> = items
        .into_iter()
        .filter(|item| tests.iter().all(|test| test(item)))
        .collect();
    items.sort_by_key(Described::id);
    Ok(items)
}

/// [`select`], then one page and the token of the next.
pub fn page<T: Described>(
    items: Vec<T>,
    filters: &[Filter],
    page: &Page,
    bounds: Bounds,
) -> Result<(Vec<T>, Option<String>), Error> {
    let mut items = select(items, filters)?;
    if let Some(token) = page.next_token.as_ref().filter(|token| !token.is_empty()) {
        let after = id_of::<T>(token)
            .ok_or_else(|| Error::new("InvalidNextToken", format!("The token '{token}' is invalid")))?;
        items.retain(|item| item.id() > after);
    }
    let Some(max) = page.max_results else {
        return Ok((items, None));
    };
    if max < bounds.least {
        let why = format!("Expecting a value greater than or equal to {}.", bounds.least);
        return Err(Error::invalid(max, "maxResults", why));
    }
    if max > bounds.most && !bounds.capped {
        let why = format!("Expecting a value less than or equal to {}.", bounds.most);
        return Err(Error::invalid(max, "maxResults", why));
    }
    let size = max.min(bounds.most) as usize;
    let more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| more).map(|last| token::<T>(&last.id()));
    Ok((items, next))
}

/// The token of the page after an item. A checksum tells it from what no response of this operation gave out.
fn token<T: Described>(id: &str) -> String {
    let names = T::FILTERS.iter().map(|(name, _)| *name);
    let digest = names
        .chain([id])
        .fold(Sha256::new(), |hash, text| hash.chain_update(text))
        .finalize();
    let sum = digest.iter().copied().take(CHECKSUM_BYTES);
    BASE64.encode(sum.chain(id.bytes()).collect::<Vec<u8>>())
}

/// The item that a token stands for.
fn id_of<T: Described>(given: &str) -> Option<String> {
    let bytes = BASE64.decode(given).ok()?;
    let id = String::from_utf8(bytes.get(CHECKSUM_BYTES..)?.to_vec()).ok()?;
    (token::<T>(&id) == given).then_some(id)
}

/// AWS refuses a page size where ids are named.
pub fn ids_or_page(ids: &[String], parameter: &str, page: &Page) -> Result<(), Error> {
    if !ids.is_empty() && page.max_results.is_some() {
        return Err(Error::combination(format!(
            "The parameter {parameter} cannot be used with the parameter maxResults"
        )));
    }
    Ok(())
}

type Test<T> = Box<dyn Fn(&T) -> bool>;

fn test<T: Described>(filter: &Filter) -> Result<Test<T>, Error> {
    let Filter { name, values } = filter.clone();
    let Some(name) = name else {
        return Err(Error::new("InvalidParameterValue", "The filter 'null' is invalid"));
    };
    if let Some(key) = name.strip_prefix("tag:") {
        let key = key.to_owned();
        return Ok(Box::new(move |item| {
            item.tags().0.get(&key).is_some_and(|value| any(&values, value))
        }));
    }
    if name == "tag-key" {
        return Ok(Box::new(move |item| item.tags().0.keys().any(|key| any(&values, key))));
    }
    let field = T::FILTERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, field)| *field);
    match field {
        Some(field) => Ok(Box::new(move |item| {
            field(item).iter().any(|value| any(&values, value))
        })),
        None if T::EMPTY_FILTERS.contains(&name.as_str()) => Ok(Box::new(|_| false)),
        None => Err(Error::new(
            "InvalidParameterValue",
            format!("The filter '{name}' is invalid"),
        )),
    }
}

fn any(patterns: &[String], value: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, value))
}

/// EC2's wildcards: `*` any characters, `?` one, a backslash takes the next literally.
pub fn matches(pattern: &str, value: &str) -> bool {
    enum Part {
        Any,
        One,
        Literal(char),
    }
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Literal(characters.next().unwrap_or('\\')),
            other => Part::Literal(other),
        });
    }
    let value: Vec<char> = value.chars().collect();
    let (mut p, mut v) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while v < value.len() {
        match parts.get(p) {
            Some(Part::Any) => {
                retry = Some((p + 1, v));
                p += 1;
                continue;
            }
            Some(Part::One) => {
                (p, v) = (p + 1, v + 1);
                continue;
            }
            Some(Part::Literal(character)) if *character == value[v] => {
                (p, v) = (p + 1, v + 1);
                continue;
            }
            _ => {}
        }
        let Some((after, taken)) = retry else { return false };
        retry = Some((after, taken + 1));
        (p, v) = (after, taken + 1);
    }
    parts[p..].iter().all(|part| matches!(part, Part::Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(&'static str, Tags);

    impl Described for Item {
        const FILTERS: &'static [Field<Self>] = &[("name", |item| vec![item.0.to_owned()])];

        fn id(&self) -> String {
            self.0.to_owned()
        }

        fn tags(&self) -> &Tags {
            &self.1
        }
    }

    fn items() -> Vec<Item> {
        let team = |value: &str| Tags([("team".to_owned(), value.to_owned())].into());
        vec![
            Item("c", team("web")),
            Item("a", Tags::default()),
            Item("b", team("data")),
        ]
    }

    fn filter(name: &str, values: &[&str]) -> Filter {
        Filter {
            name: Some(name.into()),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    #[test]
    fn wildcards() {
        let table = [
            (
                "al2023-ami-2023.*-x86_64",
                "al2023-ami-2023.9.1-kernel-6.1-x86_64",
                true,
            ),
            (
                "al2023-ami-2023.*-x86_64",
                "al2023-ami-2023.9.1-kernel-6.1-arm64",
                false,
            ),
            ("*", "", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a\\*c", "a*c", true),
            ("a\\*c", "abc", false),
            ("abc", "ABC", false),
            ("a**", "a", true),
        ];
        for (pattern, value, expected) in table {
            assert_eq!(matches(pattern, value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn filters_are_all_true_and_their_values_any() {
        let names =
            |filters: &[Filter]| -> Vec<&str> { select(items(), filters).unwrap().iter().map(|item| item.0).collect() };
        assert_eq!(names(&[filter("name", &["a", "b"])]), ["a", "b"]);
        assert_eq!(
            names(&[filter("tag:team", &["we*", "data"]), filter("name", &["c"])]),
            ["c"]
        );
        assert_eq!(names(&[filter("tag-key", &["t*"])]), ["b", "c"]);
        assert!(
            names(&[filter("name", &[])]).is_empty(),
            "no value is none that matches"
        );
    }

    #[test]
    fn an_unknown_filter_is_refused_even_when_nothing_exists() {
        let error = select::<Item>(vec![], &[filter("nmae", &["x"])]).err().unwrap();
        assert_eq!(error.message, "The filter 'nmae' is invalid");
        let nameless = Filter {
            name: None,
            values: vec!["x".into()],
        };
        let error = select::<Item>(vec![], &[nameless]).err().unwrap();
        assert_eq!(error.code, "InvalidParameterValue");
    }

    #[test]
    fn pages_cover_everything_once() {
        let bounds = Bounds::strict(1, 2);
        let first = Page {
            max_results: Some(2),
            next_token: None,
        };
        let (items_of_first, token) = page(items(), &[], &first, bounds).unwrap();
        assert_eq!(items_of_first.len(), 2);
        let second = Page {
            max_results: Some(2),
            next_token: token,
        };
        let (rest, token) = page(items(), &[], &second, bounds).unwrap();
        assert_eq!((rest[0].0, rest.len(), token), ("c", 1, None));
        for token in ["?", "AAAA", "YW1pLTEyMw=="] {
            let wrong = Page {
                max_results: None,
                next_token: Some(token.to_owned()),
            };
            let error = page(items(), &[], &wrong, bounds).err().unwrap();
            assert_eq!(error.code, "InvalidNextToken", "{token}");
        }
        for max in [0, 3] {
            let wrong = Page {
                max_results: Some(max),
                next_token: None,
            };
            assert_eq!(
                page(items(), &[], &wrong, bounds).err().unwrap().code,
                "InvalidParameterValue"
            );
        }
    }
}
