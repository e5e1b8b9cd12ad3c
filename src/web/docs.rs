//! `openapi.json` and the page to read it, all of it in the binary.

use super::openapi;
use super::precondition::unless_known;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

struct Asset {
    text: String,
    tag: String,
    media_type: &'static str,
}

impl Asset {
    fn new(text: String, media_type: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(&text)[..8]);
        Self {
            tag: format!("\"{hash}\""),
            text,
            media_type,
        }
    }
}

static OPENAPI: LazyLock<Asset> = LazyLock::new(|| Asset::new(openapi::json(), "application/json"));
static PAGE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        include_str!("docs/page.html").to_owned(),
        "text/html; charset=utf-8",
    )
});
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        include_str!("docs/docs.js").to_owned(),
        "text/javascript; charset=utf-8",
    )
});
static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        include_str!("docs/docs.css").to_owned(),
        "text/css; charset=utf-8",
    )
});

/// The page runs our script, reads our JSON, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn serve(request: &HttpRequest, asset: &'static Asset) -> HttpResponse {
    unless_known(request.headers(), &asset.tag, |full| {
        full.content_type(asset.media_type)
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
            .body(asset.text.as_str())
    })
}

/// This description
#[utoipa::path(get, path = "/api/v1/openapi.json",
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"),
        (status = 304, description = "It is what `If-None-Match` knows")))]
pub async fn openapi_json(request: HttpRequest) -> HttpResponse {
    serve(&request, &OPENAPI)
}

/// A page to read this description
#[utoipa::path(get, path = "/api/v1/docs",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html; charset=utf-8"),
        (status = 304, description = "It is what `If-None-Match` knows")))]
pub async fn docs_page(request: HttpRequest) -> HttpResponse {
    serve(&request, &PAGE)
}

/// The script of the page
#[utoipa::path(get, path = "/api/v1/docs/docs.js",
    responses(
        (status = 200, description = "The script", body = String, content_type = "text/javascript; charset=utf-8"),
        (status = 304, description = "It is what `If-None-Match` knows")))]
pub async fn docs_script(request: HttpRequest) -> HttpResponse {
    serve(&request, &SCRIPT)
}

/// The style of the page
#[utoipa::path(get, path = "/api/v1/docs/docs.css",
    responses(
        (status = 200, description = "The style", body = String, content_type = "text/css; charset=utf-8"),
        (status = 304, description = "It is what `If-None-Match` knows")))]
pub async fn docs_style(request: HttpRequest) -> HttpResponse {
    serve(&request, &STYLE)
}
