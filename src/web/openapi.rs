//! The OpenAPI description, made from the route table.
//!
//! Handlers document what is their own; what every route has in common is added here, so that it
//! cannot be forgotten. `docs/openapi.json` is the checked-in form; a test compares the two.

use super::error::{Kind, PROBLEM_JSON, ProblemView};
use super::events::Level;
use super::log_intake::TakenView;
use super::log_routes::{RouteRow, RouteStats};
use super::nodes::TokenBody;
use super::router::{Access, Body, Row, table};
use super::sse::StreamEvent;
use crate::domain::crash::CrashReport;
use crate::domain::view::{
    ActorView, AppView, AuditView, ChangeAnswer, DeployRequest, DriftBody, EndpointView, EventView,
    Finding, InputView, InstanceView, JoinTokenView, LogLineView, MovesView, NodeChange, NodeView,
    OperationView, Page, ProcView, RevisionView, RollbackRequest, ScaleRequest, SinkView,
    SinksReloaded, VersionView, WhyView,
};
use crate::ports::log_index::{
    Bar, FieldView, Histogram, Hit, IndexStatus, QueryLanguage, SavedSearch, SearchPage, Stats,
    StatsRow, Surrounding, TopValues, ValueCount,
};
use actix_web::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::path::{
    HttpMethod, Operation, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Header, InfoBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    tag::TagBuilder,
};

/// Everything that bodies and answers are made of.
#[derive(OpenApi)]
#[openapi(components(schemas(
    Page<AppView>, Page<ProcView>, Page<InstanceView>, Page<CrashReport>, Page<NodeView>,
    Page<OperationView>, Page<EventView>, Page<LogLineView>, Page<AuditView>, Page<Finding>, Page<SinkView>,
    SinksReloaded,
    AppView, ProcView, InstanceView, CrashReport, NodeView, OperationView, EventView, LogLineView,
    ActorView, SinkView, ChangeAnswer, DeployRequest, ScaleRequest, VersionView, ProblemView, Level, StreamEvent,
    RevisionView, Page<RevisionView>, RollbackRequest, EndpointView, Page<EndpointView>,
    JoinTokenView, TokenBody, NodeChange, DriftBody, MovesView, WhyView,
    SearchPage, Hit, Histogram, Bar, ValueCount, TopValues, FieldView, Page<FieldView>, Surrounding,
    Page<InputView>, InputView, TakenView, RouteStats, RouteRow,
    Stats, StatsRow, IndexStatus, SavedSearch, Page<SavedSearch>, QueryLanguage,
)))]
struct Schemas;

const ABOUT: &str = "\
lain keeps apps alive. This is all that can be asked of it; the CLI uses nothing else.

- Send a token as `Authorization: Bearer <token>`.
- Every answer has an `X-Request-Id`; send one of your own to find a request in lain's log.
- What fails is answered as a problem (RFC 9457). Its `type` is stable; `docs/api.md` lists them.
- Unknown query parameters and unknown fields of bodies are refused with 400.
- Lists are cut to pages: pass `next` of one page as `after` to get the following one.
- Every GET can be a HEAD, but for WebSockets.
- An `Idempotency-Key` makes a change safe to repeat for 24 hours.
- Version 1 only grows. Ignore fields that you do not know.";

const TAGS: [(&str, &str); 13] = [
    ("apps", "Apps: deploy, undeploy, restart, stop, start"),
    (
        "procs",
        "The procs of an app: scale, restart, run a one-off command",
    ),
    (
        "instances",
        "The instances of a proc: restart, execute a command",
    ),
    (
        "logs",
        "The output of instances, and queries over log events",
    ),
    ("crashes", "What is kept of each crash"),
    ("operations", "Work that takes time"),
    ("events", "What happened"),
    ("supervision", "The tree of actors"),
    ("nodes", "The machines that apps run on"),
    ("sinks", "Where log events go"),
    (
        "inputs",
        "Where log events come from, besides what lain runs",
    ),
    ("audit", "Who changed what"),
    ("system", "Health, version, metrics, this description"),
];

/// The whole description as indented JSON.
pub fn json() -> String {
    // A description is maps of texts; those always serialise.
    let mut text = serde_json::to_string_pretty(&description()).unwrap_or_default();
    text.push('\n');
    text
}

/// The whole description.
pub fn description() -> utoipa::openapi::OpenApi {
    let mut api = Schemas::openapi();
    api.info = InfoBuilder::new()
        .title("lain")
        .version("1")
        .description(Some(ABOUT))
        .build();
    let mut paths = PathsBuilder::new();
    for row in table() {
        let item = PathItem::new(http_method(&row.method), documented(&row));
        paths = paths.path(row.path, item);
    }
    api.paths = paths.build();
    api.tags = Some(
        TAGS.iter()
            .map(|(name, about)| {
                TagBuilder::new()
                    .name(*name)
                    .description(Some(*about))
                    .build()
            })
            .collect(),
    );
    let mut components = api.components.take().unwrap_or_default();
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
    api.components = Some(components);
    api
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::PUT => HttpMethod::Put,
        Method::POST => HttpMethod::Post,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// What a row's handler documents, and what all routes like it have in common.
pub fn documented(row: &Row) -> Operation {
    let mut operation = (row.operation)();
    for (kind, description) in common(row) {
        let status = kind.status().as_u16().to_string();
        let answers = &mut operation.responses.responses;
        answers
            .entry(status)
            .or_insert_with(|| RefOr::T(problem(kind, description)));
    }
    // Said by the HTTP server itself, before a route is looked for.
    let too_long = "The URL and the headers are too large; answered without a body";
    let answers = &mut operation.responses.responses;
    answers
        .entry("431".to_owned())
        .or_insert_with(|| RefOr::T(ResponseBuilder::new().description(too_long).build()));
    add_request_id(&mut operation);
    operation.tags = Some(vec![group(row.path).to_owned()]);
    if row.method != Method::GET {
        let key = idempotency_key();
        operation
            .parameters
            .get_or_insert_default()
            .push(RefOr::T(key));
    }
    operation.security = Some(match row.access {
        Access::Open => Vec::new(),
        _ => vec![SecurityRequirement::new("bearer", [""; 0])],
    });
    operation
}

/// The group of a path: its first noun, or below an app its last one.
fn group(path: &str) -> &'static str {
    let known = |part: &str| {
        TAGS.iter()
            .map(|(name, _)| *name)
            .find(|name| *name == part)
    };
    let mut nouns = path.split('/').filter_map(known);
    match nouns.next() {
        Some("apps") => nouns.next_back().unwrap_or("apps"),
        Some(noun) => noun,
        None => "system",
    }
}

/// The problems that a route can answer because of what stands before it.
fn common(row: &Row) -> Vec<(Kind, &'static str)> {
    let mut all = vec![
        (
            Kind::BadRequest,
            "A parameter, header or body is wrong or not known",
        ),
        (Kind::ForbiddenHost, "This host is not served here"),
        (
            Kind::RateLimited,
            "Too many requests; repeat after `Retry-After`",
        ),
        (Kind::Internal, "A defect of lain"),
        (
            Kind::Unavailable,
            "lain, its store or its engine is not ready; repeat after `Retry-After`",
        ),
    ];
    if row.access != Access::Open {
        all.push((Kind::Unauthorized, "No token, or one that is not known"));
        all[1].1 = "The token does not permit this, or the host or origin is not served here";
    }
    if row.path.contains('{') {
        all.push((Kind::NotFound, "What the path names does not exist"));
    }
    if row.method != Method::GET {
        all.push((Kind::RequestTimeout, "The body did not come in time"));
        all.push((
            Kind::Conflict,
            "Not possible now, or the idempotency key belongs to another request",
        ));
        all.push((Kind::TooLarge, "The body is too large"));
        all.push((
            Kind::UnsupportedMediaType,
            "The body is of a type that is not understood",
        ));
    }
    debug_assert!(row.body == Body::None || row.method != Method::GET);
    all
}

fn problem(kind: Kind, description: &str) -> Response {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, content);
    let waits = matches!(kind, Kind::RateLimited | Kind::Unavailable);
    let response = match waits {
        true => response.header("Retry-After", text_header("Seconds to wait")),
        false => response,
    };
    match kind {
        Kind::Unauthorized => response.header("WWW-Authenticate", text_header("`Bearer`")),
        _ => response,
    }
    .build()
}

fn text_header(description: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String).build());
    header.description = Some(description.to_owned());
    header
}

fn add_request_id(operation: &mut Operation) {
    for answer in operation.responses.responses.values_mut() {
        if let RefOr::T(answer) = answer {
            let header = text_header("The id of the request");
            answer
                .headers
                .insert("X-Request-Id".to_owned(), RefOr::T(header));
        }
    }
}

fn idempotency_key() -> utoipa::openapi::path::Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"))
        .build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A repetition with the same key within 24 hours gets the first answer again",
        ))
        .schema(Some(schema))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn whole() -> Value {
        serde_json::from_str(&json()).unwrap()
    }

    fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    into.insert(target);
                }
                map.values().for_each(|v| references(v, into));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, into)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_its_schema() {
        let api = whole();
        let mut all = BTreeSet::new();
        references(&api, &mut all);
        assert!(all.len() > 20, "{all:?}");
        for target in all {
            let pointer = target.trim_start_matches('#');
            assert!(api.pointer(pointer).is_some(), "{target} is missing");
        }
    }

    #[test]
    fn every_route_is_described_once_with_text_and_parameters() {
        let api = whole();
        let mut ids = BTreeSet::new();
        for row in table() {
            let method = row.method.as_str().to_lowercase();
            let operation = &api["paths"][row.path][&method];
            let name = format!("{method} {}", row.path);
            let id = operation["operationId"].as_str().expect(&name);
            assert!(ids.insert(id.to_owned()), "{name}: {id} is taken");
            assert!(
                operation["summary"].as_str().is_some_and(|s| s.len() > 8),
                "{name}"
            );
            let tag = operation["tags"][0].as_str().expect(&name);
            assert!(TAGS.iter().any(|(t, _)| *t == tag), "{name}: {tag}");
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for part in row.path.split('{').skip(1) {
                let wanted = part.split('}').next().unwrap();
                let has = parameters
                    .iter()
                    .any(|p| p["name"] == wanted && p["in"] == "path");
                assert!(has, "{name}: {wanted}");
            }
            for parameter in parameters {
                let about = parameter["description"].as_str();
                assert!(about.is_some_and(|a| a.len() > 5), "{name}: {parameter}");
            }
        }
    }

    /// Run with `LAIN_UPDATE_GOLDEN=1` to accept what the code says now.
    #[test]
    fn the_checked_in_description_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        if std::env::var_os("LAIN_UPDATE_GOLDEN").is_some() {
            std::fs::write(path, json()).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            golden == json(),
            "docs/openapi.json differs from the code; if the change only adds, accept it with LAIN_UPDATE_GOLDEN=1"
        );
    }
}
