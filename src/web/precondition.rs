//! `If-Match`, `If-None-Match` and `ETag` (RFC 9110, section 13): text to [`Precondition`].

use super::error::{Kind, Problem};
use crate::ports::control::Precondition;
use actix_web::http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use actix_web::{HttpResponse, HttpResponseBuilder};

/// The strong `ETag` of a number.
pub fn etag(number: u64) -> String {
    format!("\"{number}\"")
}

/// What a change is conditional on.
///
/// # Errors
/// 400 for what is no condition or more than one; 412 for a tag that none of ours can equal.
pub fn of_change(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let given = text(headers, &IF_MATCH)?;
    let absent = text(headers, &IF_NONE_MATCH)?;
    match (given, absent) {
        (None, None) => Ok(Precondition::None),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(bad(
            "If-None-Match of a change can only be *: create, do not replace",
        )),
        (Some(_), Some(_)) => Err(bad("give If-Match or If-None-Match, not both")),
        (Some("*"), None) => Ok(Precondition::Any),
        (Some(tag), None) => revision(tag).map(Precondition::Revision),
    }
}

fn revision(tag: &str) -> Result<u64, Problem> {
    let weak = tag.strip_prefix("W/");
    let inner = weak
        .unwrap_or(tag)
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| !inner.contains('"'))
        .ok_or_else(|| bad("If-Match is * or one ETag in double quotes, such as \"7\""))?;
    let exact = inner
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| inner.parse().ok());
    match (weak, exact.flatten()) {
        (None, Some(revision)) => Ok(revision),
        _ => Err(Problem::new(
            Kind::Stale,
            format!("the ETag {tag} is none that lain gives; read it again and repeat"),
        )),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name);
    let first = all.next();
    if all.next().is_some() {
        return Err(bad(format!("{name} is given more than once")));
    }
    first
        .map(|value| value.to_str().map(str::trim))
        .transpose()
        .map_err(|_| bad(format!("{name} is not ASCII")))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadParameter, detail)
}

/// Answers 304 where `If-None-Match` has `tag` (or `*`), else lets `full` answer with that tag.
pub fn unless_known(
    headers: &HeaderMap,
    tag: &str,
    full: impl FnOnce(&mut HttpResponseBuilder) -> HttpResponse,
) -> HttpResponse {
    let known = headers
        .get_all(IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|one| one.trim())
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag);
    if known {
        HttpResponse::NotModified()
            .insert_header((ETAG, tag))
            .finish()
    } else {
        full(HttpResponse::Ok().insert_header((ETAG, tag)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(rows: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn conditions_of_changes() {
        let rows = [
            (vec![], Ok(Precondition::None)),
            (vec![(IF_MATCH, "*")], Ok(Precondition::Any)),
            (vec![(IF_MATCH, "\"7\"")], Ok(Precondition::Revision(7))),
            (vec![(IF_NONE_MATCH, "*")], Ok(Precondition::Absent)),
            (vec![(IF_MATCH, "7")], Err(400)),
            (vec![(IF_MATCH, "\"7\", \"8\"")], Err(400)),
            (vec![(IF_MATCH, "")], Err(400)),
            (vec![(IF_MATCH, "\"7\""), (IF_MATCH, "\"8\"")], Err(400)),
            (vec![(IF_NONE_MATCH, "\"7\"")], Err(400)),
            (vec![(IF_MATCH, "*"), (IF_NONE_MATCH, "*")], Err(400)),
            (vec![(IF_MATCH, "W/\"7\"")], Err(412)),
            (vec![(IF_MATCH, "\"abc\"")], Err(412)),
            (vec![(IF_MATCH, "\"99999999999999999999\"")], Err(412)),
        ];
        for (given, wanted) in rows {
            let got = of_change(&headers(&given)).map_err(|p| p.kind.status().as_u16());
            assert_eq!(got, wanted, "{given:?}");
        }
    }

    #[test]
    fn known_tags_are_answered_304() {
        for (value, status) in [
            ("\"a\"", 304),
            ("\"b\", \"a\"", 304),
            ("W/\"a\"", 304),
            ("*", 304),
            ("\"b\"", 200),
        ] {
            let answer = unless_known(&headers(&[(IF_NONE_MATCH, value)]), "\"a\"", |b| b.finish());
            assert_eq!(answer.status().as_u16(), status, "{value}");
            assert!(answer.headers().contains_key(ETAG));
        }
    }
}
