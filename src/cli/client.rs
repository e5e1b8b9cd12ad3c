//! Talks HTTP to the API: one place that sends, retries, and turns refusals into errors.
//!
//! Called by every verb. Knows the rules of the wire (bearer token, problems, `If-Match`,
//! idempotency keys, pages), not what the objects mean.

use crate::cli::connection::Connection;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::Screen;
use crate::cli::output::document::Document;
use crate::cli::problem::Problem;
use crate::cli::request::{Change, Expect, Target};
use crate::cli::sse::{Event, Parser};
use crate::cli::tls;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Error as WsError;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may be silent: three heartbeats of a watch.
const READ_TIMEOUT: Duration = Duration::from_secs(45);
/// A longer `Retry-After` is left to the user.
const LONGEST_RETRY: u64 = 5;
/// Items asked for at a time.
const PAGE: usize = 500;

/// A server.
pub struct Client {
    http: reqwest::Client,
    connection: Connection,
    /// What requests are sent to: the server, under the name that its certificate has.
    base: String,
    screen: Screen,
    verbose: bool,
}

impl Client {
    /// A client of this server; opens nothing yet.
    ///
    /// # Errors
    /// Where the token cannot be sent in a header.
    pub fn new(connection: Connection, screen: Screen, verbose: bool) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization(&connection)? {
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let (base, secured) = tls::prepare(&connection)?;
        let http = secured
            .user_agent(concat!("lain/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CliError::failed(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self {
            http,
            connection,
            base,
            screen,
            verbose,
        })
    }

    /// The same server, without a word on the terminal: for the live tree, which owns it.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn quiet(&self) -> Result<Self> {
        let mut screen = self.screen.clone();
        screen.quiet = true;
        Self::new(self.connection.clone(), screen, false)
    }

    /// The server and where it was found.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Reads an object as the server sends it.
    ///
    /// # Errors
    /// See [`Exit`]; as for every request.
    pub async fn get(&self, target: &Target) -> Result<Document> {
        self.exchange(target, &Change::new(Method::GET)).await
    }

    /// Reads an object as a view.
    ///
    /// # Errors
    /// As [`Client::get`]; also where the object is not such a view.
    pub async fn get_as<T: DeserializeOwned>(&self, target: &Target) -> Result<T> {
        self.view(&self.get(target).await?)
    }

    /// Reads a list to its end, or to `limit` items: the list as one page, and its items as views.
    ///
    /// # Errors
    /// As [`Client::get_as`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        target: &Target,
        limit: Option<usize>,
    ) -> Result<(Document, Vec<T>)> {
        let mut items: Vec<Document> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let wanted = limit.map_or(PAGE, |limit| (limit - items.len()).clamp(1, PAGE));
            let page = target.clone().query("limit", wanted).maybe("after", after);
            let page = self.get(&page).await?;
            let next = page
                .get("next")
                .and_then(Document::as_text)
                .map(str::to_owned);
            items.extend(page.into_items());
            let enough = limit.is_some_and(|limit| items.len() >= limit);
            if next.is_none() || enough {
                break;
            }
            after = next;
        }
        items.truncate(limit.unwrap_or(usize::MAX));
        let views = items.iter().map(|item| self.view(item));
        let views = views.collect::<Result<Vec<T>>>()?;
        Ok((Document::page(items), views))
    }

    /// Reads a list that comes as one page.
    ///
    /// # Errors
    /// As [`Client::get_as`].
    pub async fn page<T: DeserializeOwned>(&self, target: &Target) -> Result<Vec<T>> {
        let items = self.get(target).await?.into_items();
        items.iter().map(|item| self.view(item)).collect()
    }

    /// Makes a change. The same key goes with each attempt, so that a repeated one is done once.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn change(&self, target: &Target, change: &Change) -> Result<Document> {
        self.exchange(target, change).await
    }

    /// Reads the object that an event of a stream carries.
    ///
    /// # Errors
    /// Where it is not JSON.
    pub fn parse(&self, data: &str) -> Result<Document> {
        let parsed = Document::parse(data.as_bytes());
        parsed.map_err(|error| self.misunderstood(&error.to_string()))
    }

    /// Reads a view from an object that the server sent.
    ///
    /// # Errors
    /// Where it is not such a view: the server is of another version.
    pub fn view<T: DeserializeOwned>(&self, document: &Document) -> Result<T> {
        document
            .to()
            .map_err(|error| self.misunderstood(&error.to_string()))
    }

    /// Opens a stream of server-sent events, after the event `last_id` if given.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn stream(&self, target: &Target, last_id: Option<&str>) -> Result<Stream> {
        let url = target.url(&self.base)?;
        let mut request = self.http.get(url).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let answer = self.screen.waiting(&self.label(), request.send()).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(refusal(answer).await);
        }
        Ok(Stream {
            answer,
            parser: Parser::default(),
            ready: VecDeque::new(),
        })
    }

    /// The header that carries the token, where there is one.
    ///
    /// # Errors
    /// Where the token cannot be sent in a header.
    pub fn authorization(&self) -> Result<Option<HeaderValue>> {
        authorization(&self.connection)
    }

    /// What a failed WebSocket handshake means.
    pub fn websocket_error(&self, error: WsError) -> CliError {
        match error {
            WsError::Http(answer) => {
                let status = answer.status().as_u16();
                Problem::read(status, answer.body().as_deref().unwrap_or(&[]), None).into_error()
            }
            error => self.silent(&error.to_string()),
        }
    }

    /// The URL of a WebSocket.
    ///
    /// # Errors
    /// Where the server's address cannot hold it.
    pub fn websocket_url(&self, target: &Target) -> Result<Url> {
        let mut url = target.url(&self.base)?;
        let scheme = match url.scheme() {
            "https" => "wss",
            _ => "ws",
        };
        url.set_scheme(scheme)
            .map_err(|()| CliError::failed(format!("{url} cannot be a WebSocket")))?;
        Ok(url)
    }

    async fn exchange(&self, target: &Target, change: &Change) -> Result<Document> {
        let url = target.url(&self.base)?;
        let key = (change.method != Method::GET).then(|| uuid::Uuid::now_v7().to_string());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let begun = Instant::now();
            let request = self.request(&url, change, key.as_deref());
            let answer = self.screen.waiting(&self.label(), request.send()).await;
            let answer = match answer {
                Ok(answer) => answer,
                // The connection broke half-way: what was asked may have been done, and the key tells.
                Err(error) if attempt == 1 && !error.is_connect() && !error.is_timeout() => {
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error)),
            };
            self.trace(&change.method, &url, answer.status(), begun);
            if answer.status().is_success() {
                return self.document(answer).await;
            }
            match retry_after(&answer) {
                Some(seconds) if attempt < 3 => {
                    let pause = tokio::time::sleep(Duration::from_secs(seconds));
                    let label = format!("the server asks to wait {seconds}s");
                    self.screen.waiting(&label, pause).await;
                }
                _ => return Err(refusal(answer).await),
            }
        }
    }

    fn request(&self, url: &Url, change: &Change, key: Option<&str>) -> reqwest::RequestBuilder {
        let mut request = self.http.request(change.method.clone(), url.clone());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request = match change.expect {
            Expect::Anything => request,
            Expect::Etag(etag) => request.header("if-match", format!("\"{etag}\"")),
            Expect::Absent => request.header("if-none-match", "*"),
        };
        match &change.body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.clone()),
            None => request,
        }
    }

    async fn document(&self, answer: reqwest::Response) -> Result<Document> {
        let body = answer.bytes().await;
        let body = body.map_err(|error| self.unreachable(&error))?;
        if body.is_empty() {
            return Ok(Document::Null);
        }
        Document::parse(&body).map_err(|error| self.misunderstood(&error.to_string()))
    }

    fn trace(&self, method: &Method, url: &Url, status: StatusCode, begun: Instant) {
        if self.verbose {
            let took = begun.elapsed().as_millis();
            self.screen
                .note(&format!("{method} {url}: {status} ({took} ms)"));
        }
    }

    fn label(&self) -> String {
        format!("waiting for {}", self.connection.server)
    }

    fn misunderstood(&self, why: &str) -> CliError {
        let server = &self.connection.server;
        CliError::failed(format!(
            "the answer of {server} cannot be understood: {why}"
        ))
        .hint("is it a lain server of this version? compare with `lain version`")
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        self.silent(&cause(error))
    }

    /// No answer, and what may help, depending on where the address came from.
    fn silent(&self, why: &str) -> CliError {
        let Connection { server, origin, .. } = &self.connection;
        let hint = match origin.as_str() {
            "the default" => {
                "is `lain dev` running? start it, or name the server with --server or LAIN_SERVER"
                    .to_owned()
            }
            "--server" | "LAIN_SERVER" => {
                "check the address; `lain doctor` looks further".to_owned()
            }
            origin if origin.starts_with('/') => format!(
                "{origin} names it, but `lain dev` is not running: start it, or name the server with --server"
            ),
            _ => "check the context's server; `lain doctor` looks further".to_owned(),
        };
        CliError::new(
            Exit::Unreachable,
            format!("{server} does not answer ({origin}): {why}"),
        )
        .hint(hint)
    }
}

fn authorization(connection: &Connection) -> Result<Option<HeaderValue>> {
    let Some(token) = &connection.token else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| CliError::new(Exit::NotAuthenticated, "the token cannot be sent"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn retry_after(answer: &reqwest::Response) -> Option<u64> {
    let busy = matches!(answer.status().as_u16(), 429 | 503);
    let value = answer.headers().get("retry-after")?.to_str().ok()?;
    let seconds = value.parse().ok()?;
    (busy && seconds <= LONGEST_RETRY).then_some(seconds)
}

async fn refusal(answer: reqwest::Response) -> CliError {
    let status = answer.status().as_u16();
    let id = answer.headers().get("x-request-id");
    let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = answer.bytes().await.unwrap_or_default();
    Problem::read(status, &body, id).into_error()
}

/// The innermost cause: `Connection refused (os error 111)` rather than `error sending request`.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A stream of server-sent events.
pub struct Stream {
    answer: reqwest::Response,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl Stream {
    /// The next event; `Ok(None)` when the server has ended the stream. May be cancelled at any time.
    ///
    /// # Errors
    /// Why the connection broke.
    pub async fn next(&mut self) -> std::result::Result<Option<Event>, String> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.answer.chunk().await {
                Ok(Some(bytes)) => self.ready.extend(self.parser.feed(&bytes)),
                Ok(None) => return Ok(None),
                Err(error) => return Err(cause(&error)),
            }
        }
    }
}
