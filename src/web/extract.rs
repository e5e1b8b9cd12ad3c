//! Path, query and body of a request as typed values, with errors that name what is wrong.
//!
//! Called by handlers as extractors. What is not known is refused, never ignored.

use super::error::{Kind, Problem};
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Path, Query};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{LocalBoxFuture, Ready, ready};
use serde::de::DeserializeOwned;
use std::ops::Deref;

/// The parameters in the path.
pub struct InPath<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for InPath<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let path = Path::<T>::from_request(request, payload).into_inner();
        ready(
            path.map(|path| Self(path.into_inner()))
                .map_err(|error| Problem::new(Kind::BadParameter, format!("in the path: {error}"))),
        )
    }
}

impl<T> Deref for InPath<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The parameters in the query; each must be known, and given once.
pub struct InQuery<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for InQuery<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse_query(request.query_string()).map(Self))
    }
}

impl<T> Deref for InQuery<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A query as name and value, decoded.
///
/// # Errors
/// 400 where it is no UTF-8 once decoded.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    if !decodes_to_utf8(query) {
        let detail = "the query is not UTF-8 once its %-escapes are decoded";
        return Err(Problem::new(Kind::BadParameter, detail));
    }
    Query::<Vec<(String, String)>>::from_query(query)
        .map(Query::into_inner)
        .map_err(|error| Problem::new(Kind::BadParameter, format!("the query: {error}")))
}

/// Whether the %-escapes of a query are UTF-8; `serde_urlencoded` would replace what is not.
fn decodes_to_utf8(query: &str) -> bool {
    let bytes = query.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let mut value = [0];
        match escape {
            Some(digits) if hex::decode_to_slice(digits, &mut value).is_ok() => {
                decoded.push(value[0]);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// Reads a query into `T`, whose fields must all have defaults.
///
/// # Errors
/// 400 naming the parameter.
pub fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let error = match Query::<T>::from_query(query) {
        Ok(parsed) => {
            pairs(query)?;
            return Ok(parsed.into_inner());
        }
        Err(error) => error,
    };
    // Each parameter alone is valid unless it is the one at fault; what is left is a repetition.
    let culprit = pairs(query)?.into_iter().find_map(|(name, value)| {
        let alone = encode(&[(&name, &value)]);
        let error = Query::<T>::from_query(&alone).err()?;
        Some(format!("query parameter {name}: {error}"))
    });
    let detail = culprit.unwrap_or_else(|| format!("the query: {error}"));
    Err(Problem::new(Kind::BadParameter, detail))
}

/// Writes a query of these names and values.
pub fn encode(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        escape(name, &mut text);
        text.push('=');
        escape(value, &mut text);
    }
    text
}

fn escape(part: &str, into: &mut String) {
    use std::fmt::Write;
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// A JSON object of the wanted form. `gate` has read the body and limited its size.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let typed = check_type(request);
        let body = Bytes::from_request(request, payload);
        Box::pin(async move {
            typed?;
            let body = body
                .await
                .map_err(|error| Problem::new(Kind::BadRequest, format!("the body: {error}")))?;
            parse_json(&body).map(Self)
        })
    }
}

/// The body must say that it is JSON; a merge patch may say that too.
fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let patch = request.method() == actix_web::http::Method::PATCH;
    let given = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let fits = essence.eq_ignore_ascii_case("application/json")
        || (patch && essence.eq_ignore_ascii_case("application/merge-patch+json"));
    if fits {
        return Ok(());
    }
    let what = if essence.is_empty() {
        "missing"
    } else {
        essence
    };
    Err(Problem::new(
        Kind::UnsupportedMediaType,
        format!("the Content-Type is {what}; send application/json"),
    ))
}

/// Reads a JSON object into `T`.
///
/// # Errors
/// 400 with the line, the column, and the field where one is at fault.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let malformed = |detail: String| Problem::new(Kind::MalformedBody, detail);
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(format!("the body is not UTF-8: {error}")))?;
    // serde takes an array for a struct, field by field; our objects are objects.
    if !text.trim_start().starts_with('{') {
        return Err(malformed("the body is no JSON object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| {
        let detail = format!("the body: {error}");
        if error.is_data() && detail.contains("unknown field") {
            Problem::new(Kind::UnknownField, detail)
        } else {
            malformed(detail)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Some3 {
        limit: Option<u32>,
        watch: bool,
        app: Option<crate::domain::id::AppName>,
    }

    #[test]
    fn queries_name_the_parameter_at_fault() {
        let rows = [
            ("", None),
            ("limit=3&watch=true&app=hello", None),
            ("limit=x", Some("limit")),
            ("limit=", Some("limit")),
            ("limit=-1&watch=true", Some("limit")),
            ("watch=1", Some("watch")),
            ("watch", Some("watch")),
            ("app=a_b", Some("a_b")),
            ("limit=1&limit=2", Some("duplicate field `limit`")),
            ("lmit=1", Some("lmit")),
            ("app=%ff", Some("UTF-8")),
            ("app=%C3%A9", Some("é")),
        ];
        for (query, wanted) in rows {
            match (parse_query::<Some3>(query), wanted) {
                (Ok(_), None) => {}
                (Err(problem), Some(part)) => {
                    assert!(problem.detail.contains(part), "{query}: {problem}");
                }
                (got, _) => panic!("{query}: {got:?}"),
            }
        }
    }

    #[test]
    fn queries_are_written_as_they_are_read() {
        let words = [("a", "1 + 1 = 2 & more"), ("b", "é/%"), ("a", "")];
        let read = pairs(&encode(&words)).unwrap();
        let read: Vec<_> = read.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(read, words);
    }

    #[test]
    fn bodies_are_objects_of_known_fields() {
        let deep = format!("{{\"app\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        let rows: [(&[u8], Option<Kind>); 9] = [
            (b"{\"limit\": 3}", None),
            (b" {}", None),
            (b"", Some(Kind::MalformedBody)),
            (b"[3, true, null]", Some(Kind::MalformedBody)),
            (b"{\"limit\": 3", Some(Kind::MalformedBody)),
            (b"{\"limit\": 3} x", Some(Kind::MalformedBody)),
            (b"{\"limit\": 1, \"limit\": 2}", Some(Kind::MalformedBody)),
            (b"{\"lmit\": 3}", Some(Kind::UnknownField)),
            (b"{\"app\": \"\xff\"}", Some(Kind::MalformedBody)),
        ];
        for (body, wanted) in rows {
            let got = parse_json::<Some3>(body).err().map(|problem| problem.kind);
            assert_eq!(got, wanted, "{}", String::from_utf8_lossy(body));
        }
        let got = parse_json::<Some3>(deep.as_bytes()).err();
        assert_eq!(got.map(|p| p.kind), Some(Kind::MalformedBody));
    }
}
