//! The parameters that many routes share, typed and documented once; cursors and pages.

use super::error::{Kind, Problem};
use super::precondition;
use super::state::Api;
use crate::domain::id::{AppName, ProcName};
use crate::domain::view::{ChangeAnswer, Page};
use crate::ports::control::{ControlError, Precondition, Selector};
use actix_web::http::header::{ETAG, HeaderMap, LOCATION};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Deserialize;
use utoipa::IntoParams;

/// An app in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AppPath {
    /// The app's name.
    #[param(
        value_type = String,
        max_length = 253,
        pattern = r"^[A-Za-z](-?[A-Za-z0-9])*(\.[A-Za-z](-?[A-Za-z0-9])*)*$",
        example = "hello"
    )]
    pub app: AppName,
}

/// A proc in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProcPath {
    /// The app's name.
    #[param(
        value_type = String,
        max_length = 253,
        pattern = r"^[A-Za-z](-?[A-Za-z0-9])*(\.[A-Za-z](-?[A-Za-z0-9])*)*$",
        example = "hello"
    )]
    pub app: AppName,
    /// The proc's name, without its type.
    #[param(
        value_type = String,
        max_length = 63,
        pattern = r"^[A-Za-z](-?[A-Za-z0-9])*$",
        example = "web"
    )]
    pub proc: ProcName,
}

/// An instance in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct InstancePath {
    /// The app's name.
    #[param(
        value_type = String,
        max_length = 253,
        pattern = r"^[A-Za-z](-?[A-Za-z0-9])*(\.[A-Za-z](-?[A-Za-z0-9])*)*$",
        example = "hello"
    )]
    pub app: AppName,
    /// The proc's name, without its type.
    #[param(
        value_type = String,
        max_length = 63,
        pattern = r"^[A-Za-z](-?[A-Za-z0-9])*$",
        example = "web"
    )]
    pub proc: ProcName,
    /// The instance number, from 1.
    #[param(minimum = 1)]
    pub no: u32,
}

/// What a change is for: the whole app, a proc, or an instance.
pub trait Target {
    /// As the control host takes it.
    fn selector(&self) -> Selector;
}

impl Target for AppPath {
    fn selector(&self) -> Selector {
        Selector {
            app: self.app.clone(),
            proc: None,
            instance: None,
        }
    }
}

impl Target for ProcPath {
    fn selector(&self) -> Selector {
        Selector {
            app: self.app.clone(),
            proc: Some(self.proc.clone()),
            instance: None,
        }
    }
}

impl Target for InstancePath {
    fn selector(&self) -> Selector {
        Selector {
            app: self.app.clone(),
            proc: Some(self.proc.clone()),
            instance: Some(self.no),
        }
    }
}

/// How many items a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Limit(pub usize);

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;
    fn try_from(value: u32) -> Result<Self, String> {
        match value {
            1..=1000 => Ok(Self(value as usize)),
            _ => Err(format!("{value} is not from 1 to 1000")),
        }
    }
}

/// The number of an instance, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct InstanceNo(pub u32);

impl TryFrom<u32> for InstanceNo {
    type Error = String;
    fn try_from(value: u32) -> Result<Self, String> {
        match value {
            1..=1_000_000 => Ok(Self(value)),
            _ => Err(format!("{value} is not from 1 to 1000000")),
        }
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most this many items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^([0-9a-f][0-9a-f])+$")]
    pub after: Option<Cursor>,
}

/// Whether to change anything.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DryRunQuery {
    /// Only say what would be done.
    #[param(value_type = Option<bool>, default = false)]
    pub dry_run: bool,
}

/// Where a page starts: opaque to clients, made by us only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cursor {
    list: String,
    key: String,
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let wrong = "is no `next` of a page";
        let bytes = hex::decode(text).map_err(|_| wrong)?;
        let inner = String::from_utf8(bytes).map_err(|_| wrong)?;
        let (list, key) = inner.split_once(':').ok_or(wrong)?;
        Ok(Self {
            list: list.to_owned(),
            key: key.to_owned(),
        })
    }
}

/// The cursor after the item with this key of this list.
pub fn cursor(list: &str, key: &str) -> String {
    hex::encode(format!("{list}:{key}"))
}

/// The key in a cursor of this list.
///
/// # Errors
/// 400 for a cursor of another list.
pub fn after(cursor: Option<&Cursor>, list: &str) -> Result<Option<String>, Problem> {
    match cursor {
        None => Ok(None),
        Some(cursor) if cursor.list == list => Ok(Some(cursor.key.clone())),
        Some(cursor) => Err(Problem::new(
            Kind::BadParameter,
            format!(
                "query parameter after: it is of the list {}, not {list}",
                cursor.list
            ),
        )),
    }
}

/// Cuts a page from items, which it sorts by `key`.
///
/// # Errors
/// 400 for a cursor of another list.
pub fn page<T>(
    list: &str,
    query: &PageQuery,
    mut items: Vec<T>,
    key: impl Fn(&T) -> String,
) -> Result<Page<T>, Problem> {
    items.sort_by_cached_key(&key);
    if let Some(after) = after(query.after.as_ref(), list)? {
        items.retain(|item| key(item) > after);
    }
    let more = items.len() > query.limit.0;
    items.truncate(query.limit.0);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| cursor(list, &key(last)));
    Ok(Page { items, next })
}

/// ` (did you mean web?)` where one of `others` is like `name`, else nothing.
pub fn did_you_mean<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> String {
    let most = (name.chars().count() / 3).max(1);
    let nearest = others
        .map(|other| (strsim::osa_distance(other, name), other))
        .filter(|(distance, _)| *distance <= most)
        .min();
    nearest.map_or(String::new(), |(_, near)| {
        format!(" (did you mean {near}?)")
    })
}

/// Makes the cursor of a page that the control host gave one of ours.
pub fn wrap<T>(list: &str, page: Page<T>) -> Page<T> {
    Page {
        items: page.items,
        next: page.next.map(|key| cursor(list, &key)),
    }
}

/// The answer to a change: 202 with its operation, or 200 where there is none.
pub fn changed(answer: &ChangeAnswer) -> HttpResponse {
    let mut response = match &answer.operation {
        Some(operation) => {
            let mut response = HttpResponse::Accepted();
            response.insert_header((LOCATION, format!("/api/v1/operations/{}", operation.id)));
            response
        }
        None => HttpResponse::Ok(),
    };
    tagged(&mut response, answer.etag).json(answer)
}

/// Adds an app's `ETag`.
pub fn tagged(response: &mut HttpResponseBuilder, etag: u64) -> &mut HttpResponseBuilder {
    response.insert_header((ETAG, precondition::etag(etag)))
}

/// Honours `If-Match` where the control host takes none: compares it with the app's revision before
/// the change. Another change can come in between; those of the desired state compare for themselves.
///
/// # Errors
/// 412 where it does not hold.
pub async fn check_revision(api: &Api, headers: &HeaderMap, app: &AppName) -> Result<(), Problem> {
    match precondition::of_change(headers)? {
        Precondition::None | Precondition::Any => Ok(()),
        Precondition::Absent => Err(Problem::new(
            Kind::BadParameter,
            "If-None-Match: * makes no sense for a change of something that exists",
        )),
        Precondition::Revision(given) => {
            let current = api.control.app(app).await?.etag;
            if current == given {
                return Ok(());
            }
            let app = app.to_string();
            Err(ControlError::Stale {
                app,
                given,
                current,
            }
            .into())
        }
    }
}

/// 422 for a value of the body that cannot be.
pub fn out_of_range(key: &str, expected: &str) -> Problem {
    let problem = crate::ports::control::Problem {
        line: None,
        column: None,
        key: key.to_owned(),
        code: "out_of_range".to_owned(),
        detail: format!("{key}: expected {expected}"),
    };
    ControlError::Invalid {
        file: "the body".to_owned(),
        problems: vec![problem],
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: usize, after: Option<&str>) -> PageQuery {
        PageQuery {
            limit: Limit(limit),
            after: after.map(|text| Cursor::try_from(text.to_owned()).unwrap()),
        }
    }

    #[test]
    fn pages_cover_the_list_in_order_and_end() {
        let names = ["d", "a", "c", "b", "e"];
        for limit in 1..=6 {
            let (mut seen, mut next, mut pages) = (Vec::new(), None, 0);
            loop {
                let query = query(limit, next.as_deref());
                let got = page("apps", &query, names.to_vec(), |n| (*n).to_owned()).unwrap();
                seen.extend(got.items);
                pages += 1;
                next = got.next;
                if next.is_none() {
                    break;
                }
            }
            assert_eq!(seen, ["a", "b", "c", "d", "e"]);
            assert_eq!(pages, 5usize.div_ceil(limit).max(1), "{limit}");
        }
    }

    #[test]
    fn near_names_are_offered() {
        let known = ["hello", "web", "worker"];
        for (name, near) in [
            ("helo", "hello"),
            ("wbe", "web"),
            ("wroker", "worker"),
            ("wob", "web"),
        ] {
            let hint = did_you_mean(name, known.into_iter());
            assert_eq!(hint, format!(" (did you mean {near}?)"), "{name}");
        }
        assert_eq!(did_you_mean("shop", known.into_iter()), "");
    }

    #[test]
    fn a_cursor_outlives_its_item_and_fits_its_list_only() {
        let at_b = cursor("apps", "b");
        let rest = page("apps", &query(9, Some(&at_b)), vec!["a", "c"], |n| {
            (*n).to_owned()
        });
        assert_eq!(rest.unwrap().items, ["c"]);
        let wrong = page("nodes", &query(9, Some(&at_b)), vec!["a"], |n| {
            (*n).to_owned()
        });
        assert_eq!(wrong.unwrap_err().kind, Kind::BadParameter);
        for text in ["", "x", "zz", "ff", "6162"] {
            assert!(Cursor::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
