//! JSON as the server sent it: every field, in its order.
//!
//! `-o json` and `-o yaml` print this rather than a view of ours, so that a field that a newer server
//! adds is not lost. Tables read the typed views with [`Document::to`].

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A JSON value that keeps the order of its keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Document>),
    /// An object, in the order of the text.
    Object(Vec<(String, Document)>),
}

impl Document {
    /// Reads JSON.
    ///
    /// # Errors
    /// Where the text is not JSON.
    pub fn parse(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// Of any serialisable value.
    ///
    /// # Errors
    /// Where a map of `value` has keys that are not text.
    pub fn of<T: Serialize>(value: &T) -> serde_json::Result<Self> {
        Self::parse(&serde_json::to_vec(value)?)
    }

    /// A list as the API serves it: `{"items": […]}`.
    pub fn page(items: Vec<Document>) -> Self {
        Document::Object(vec![("items".to_owned(), Document::List(items))])
    }

    /// Reads it as a typed view; fields that the view does not know are ignored.
    ///
    /// # Errors
    /// Where a field that the view needs is missing or of another type.
    pub fn to<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&serde_json::to_vec(self)?)
    }

    /// A field of an object.
    pub fn get(&self, key: &str) -> Option<&Document> {
        match self {
            Document::Object(fields) => fields.iter().find(|(name, _)| name == key).map(|f| &f.1),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Document::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Takes the `items` of a page; none where there are none.
    pub fn into_items(self) -> Vec<Document> {
        let Document::Object(fields) = self else {
            return Vec::new();
        };
        fields
            .into_iter()
            .find_map(|(name, value)| match value {
                Document::List(items) if name == "items" => Some(items),
                _ => None,
            })
            .unwrap_or_default()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Document::Null => serializer.serialize_unit(),
            Document::Bool(value) => serializer.serialize_bool(*value),
            Document::Number(number) => number.serialize(serializer),
            Document::Text(text) => serializer.serialize_str(text),
            Document::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Document::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Document::Null, Document::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Document, E> {
        Ok(Document::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Document::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Document::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_unknown_fields_and_numbers_survive() {
        let text = r#"{"z":1,"a":[true,null,-2,1.5,"é"],"m":{"y":18446744073709551615,"b":{}}}"#;
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&document).unwrap(), text);
    }

    #[test]
    fn views_are_read_from_it() {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let document = Document::parse(br#"{"items":[{"name":"a","new":1}],"next":"x"}"#).unwrap();
        assert_eq!(document.get("next").and_then(Document::as_text), Some("x"));
        let items = document.into_items();
        assert_eq!(items[0].to::<Named>().unwrap().name, "a");
        assert!(Document::Null.into_items().is_empty());
    }
}
