//! `POST /api/v1/logs/events` and `/api/v1/inputs`: log events of what runs outside lain.
//!
//! The body is what Vector's `http` sink sends, and its `http_server` source takes: a JSON object, an array of
//! them, or one a line; gzip is unpacked. The answer comes once the events are on the disk.

use super::error::{Kind, Problem, ProblemView};
use super::extract::InQuery;
use super::params::{self, PageQuery};
use super::state::{Api, Who};
use crate::domain::id::AppName;
use crate::domain::view::{InputView, Page};
use crate::ports::auth::Scope;
use crate::ports::log_intake::{IntakeError, Writes};
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use std::io::Read;
use utoipa::{IntoParams, ToSchema};

/// How many times the size of the largest body its content may have.
const RATIO: usize = 8;

/// Whose events are sent.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// They are of this app, and none of another one. A token for one app needs not say so.
    #[param(value_type = Option<String>, max_length = 253)]
    pub app: Option<AppName>,
}

/// What was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TakenView {
    /// How many events.
    pub accepted: u64,
}

/// Takes log events in
///
/// A JSON object, an array of objects, or an object a line, as Vector sends them. Events that name no `timestamp` get
/// that of their arrival. The answer comes once all of them are on the disk; of a request that is refused nothing
/// is stored. Sent again, an event that has its own `timestamp` or `event_id` has the same id again.
#[utoipa::path(post, path = "/api/v1/logs/events", params(EventsQuery),
    request_body(content = String, description = "Events; with `Content-Encoding: gzip`, packed", content_type = "application/x-ndjson"),
    responses((status = 200, description = "They are on the disk", body = TakenView),
        (status = 403, description = "The token may not write for an app that an event names", body = ProblemView, content_type = "application/problem+json"),
        (status = 413, description = "The body, or what it unpacks to, is too large", body = ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "The spool is full, or there is none", body = ProblemView, content_type = "application/problem+json")))]
pub async fn take_events(
    api: Data<Api>,
    who: Who,
    query: InQuery<EventsQuery>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let writes = writes(&who, query.app.as_ref())?;
    let encoding = request.headers().get(CONTENT_ENCODING);
    let encoding = encoding.map(|e| e.to_str().unwrap_or("unknown").to_ascii_lowercase());
    let body = match encoding.as_deref() {
        None | Some("identity" | "") => body.to_vec(),
        Some("gzip" | "x-gzip") => {
            let most = api.limits.body.saturating_mul(RATIO);
            // Not on the thread that answers everybody else.
            let unpacked = actix_web::web::block(move || unpack(&body, most)).await;
            unpacked.map_err(|error| {
                let detail = format!("the body could not be unpacked now: {error}; send it again");
                Problem::new(Kind::Unavailable, detail)
            })??
        }
        Some(other) => {
            let detail = format!("Content-Encoding {other} is not understood; send gzip or none");
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
    };
    let intake = api.control.log_intake().ok_or_else(|| {
        let detail =
            "this lain collects no logs (logging.enabled = false): there is no spool for events";
        Problem::new(Kind::Unavailable, detail)
    })?;
    let accepted = intake
        .take(body, writes)
        .await
        .map_err(|error| match error {
            IntakeError::NotAnEvent(detail) => Problem::new(Kind::MalformedBody, detail),
            IntakeError::OtherApp(detail) => Problem::new(Kind::Forbidden, detail),
            IntakeError::NotNow(detail) => Problem::new(Kind::Unavailable, detail),
        })?;
    Ok(HttpResponse::Ok().json(TakenView { accepted }))
}

/// For which apps this caller may write now.
fn writes(who: &Who, app: Option<&AppName>) -> Result<Writes, Problem> {
    let own = who.principal.scopes.iter().filter_map(|scope| match scope {
        Scope::App(app) => Some(app),
        _ => None,
    });
    let own: Vec<&AppName> = own.collect();
    match (app, who.principal.may_change_all(), own.as_slice()) {
        (Some(app), ..) => {
            who.must_change(Some(app.as_str()))?;
            Ok(Writes::App(app.to_string()))
        }
        (None, true, _) => Ok(Writes::All),
        (None, false, [app]) => Ok(Writes::App(app.to_string())),
        (None, false, []) => Err(who.must_change(None).err().unwrap_or_else(|| {
            Problem::new(Kind::Forbidden, "this token may write no log events")
        })),
        (None, false, several) => {
            let names: Vec<&str> = several.iter().map(|app| app.as_str()).collect();
            let names = names.join(", ");
            let detail = format!("say of which app these events are: ?app= one of {names}");
            Err(Problem::new(Kind::BadParameter, detail))
        }
    }
}

/// What a gzip body holds, `limit` bytes at most.
fn unpack(body: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
    let mut content = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(body)
        .take(most)
        .read_to_end(&mut content)
        .map_err(|error| {
            Problem::new(Kind::MalformedBody, format!("the body is no gzip: {error}"))
        })?;
    if content.len() > limit {
        let detail = format!("the body unpacks to more than {limit} bytes, the most that is taken");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    Ok(content)
}

/// Lists the inputs by name
///
/// Those of this host: what `[[logging.input]]` names, and `http`, this API.
#[utoipa::path(get, path = "/api/v1/inputs", params(PageQuery),
    responses((status = 200, description = "A page of inputs", body = Page<InputView>)))]
pub async fn list_inputs(
    api: Data<Api>,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let inputs = api.control.inputs().await?;
    let page = params::page("inputs", &query, inputs, |input| input.name.clone())?;
    Ok(HttpResponse::Ok().json(page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn bodies_are_unpacked_up_to_a_limit() {
        let pack = |text: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(text).unwrap();
            packer.finish().unwrap()
        };
        assert_eq!(unpack(&pack(b"{}"), 2).unwrap(), b"{}");
        let bomb = pack(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 5000);
        assert_eq!(unpack(&bomb, 1 << 19).unwrap_err().kind, Kind::TooLarge);
        assert_eq!(unpack(b"{}", 9).unwrap_err().kind, Kind::MalformedBody);
        let whole = pack(b"{\"a\":1}");
        let torn = unpack(&whole[..whole.len() - 9], 99).unwrap_err();
        assert_eq!(torn.kind, Kind::MalformedBody);
    }
}
