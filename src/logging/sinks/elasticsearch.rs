//! Elasticsearch and OpenSearch, in bulk.
//!
//! Each event is created under its own id, so that one that is sent again is there once: the server answers
//! 409, which is a success. A bulk request that succeeds can hide failures: each item is read, and sorted into
//! retry and dead letter.

use super::bulk::{Target, day_of, index_of, sort};
use super::template::{self, Unknown};
use crate::domain::log::LogEvent;
use crate::domain::secret::Secret;
use crate::logging::event::Encoder;
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use ::elasticsearch::auth::Credentials;
use ::elasticsearch::cert::{Certificate, CertificateValidation};
use ::elasticsearch::http::headers::HeaderMap;
use ::elasticsearch::http::request::JsonBody;
use ::elasticsearch::http::response::Response;
use ::elasticsearch::http::transport::{MultiNodeConnectionPool, Transport, TransportBuilder};
use ::elasticsearch::http::{Method, StatusCode, Url};
use ::elasticsearch::{BulkParts, Elasticsearch as Client};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(45);
/// How often old indices are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);
/// The name of our template.
const TEMPLATE: &str = "lain-logs";

/// Who we are.
#[derive(Debug, Clone)]
pub enum Login {
    /// A user with a password.
    Basic(String, Secret),
    /// An API key, base64 of `id:key`.
    ApiKey(Secret),
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its nodes.
    pub urls: Vec<String>,
    /// Where events are put.
    pub target: Target,
    /// Who we are.
    pub login: Option<Login>,
    /// A PEM file of authorities; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether the index template is ours to make.
    pub manage_template: bool,
    /// Whole days older than so many days are deleted; `None`: never.
    pub keep_days: Option<u32>,
    /// Whether the fields of JSON lines get types of their own, so that numbers can be compared and counted.
    pub typed_fields: bool,
}

impl Options {
    /// Daily indices `lain-…` of these nodes.
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            target: Target::Daily {
                prefix: "lain".to_owned(),
            },
            login: None,
            ca_file: None,
            manage_template: true,
            keep_days: None,
            typed_fields: false,
        }
    }

    /// Connections to these nodes.
    ///
    /// # Errors
    /// [`SinkError::Refused`] for options that cannot be meant.
    pub fn transport(&self) -> Result<Transport, SinkError> {
        let refused = |error: String| SinkError::Refused {
            reason: format!("Elasticsearch: {error}; see the sink's settings"),
        };
        let urls: Result<Vec<Url>, _> = self.urls.iter().map(|url| Url::parse(url)).collect();
        let urls = urls.map_err(|e| refused(format!("urls: {e}")))?;
        if urls.is_empty() {
            return Err(refused("urls is empty".to_owned()));
        }
        let pool = MultiNodeConnectionPool::round_robin(urls, None);
        let mut builder = TransportBuilder::new(pool)
            .disable_proxy()
            .enable_meta_header(false)
            .timeout(TIMEOUT);
        if let Some(path) = &self.ca_file {
            let read = std::fs::read(path)
                .map_err(|e| refused(format!("ca_file {}: {e}", path.display())))?;
            let certificate = Certificate::from_pem(&read);
            let certificate =
                certificate.map_err(|e| refused(format!("ca_file {}: {e}", path.display())))?;
            builder = builder.cert_validation(CertificateValidation::Full(certificate));
        }
        builder = match &self.login {
            None => builder,
            Some(Login::Basic(user, password)) => builder.auth(Credentials::Basic(
                user.clone(),
                password.expose().to_owned(),
            )),
            Some(Login::ApiKey(key)) => {
                builder.auth(Credentials::EncodedApiKey(key.expose().to_owned()))
            }
        };
        builder.build().map_err(|e| refused(e.to_string()))
    }
}

/// The sink.
pub struct Elasticsearch {
    options: Options,
    client: Client,
    encoder: Encoder,
    prepared: bool,
    retained: Option<Instant>,
}

impl Elasticsearch {
    /// Not connected yet.
    ///
    /// # Errors
    /// [`SinkError::Refused`] for options that cannot be meant.
    pub fn new(options: Options) -> Result<Self, SinkError> {
        let client = Client::new(options.transport()?);
        Ok(Self {
            options,
            client,
            encoder: Encoder::default(),
            prepared: false,
            retained: None,
        })
    }

    fn away(&self, error: impl std::fmt::Display) -> SinkError {
        SinkError::retry(format!(
            "Elasticsearch {}: {error}",
            self.options.urls.join(",")
        ))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, SinkError> {
        let body = body.map(JsonBody::new);
        let none = None::<&()>;
        let sent = self
            .client
            .transport()
            .send(method, path, HeaderMap::new(), none, body, None)
            .await;
        sent.map_err(|e| self.away(e))
    }

    /// What a whole request's failure means.
    async fn refusal(&self, response: Response) -> SinkError {
        let status = response.status_code();
        let text = response.text().await.unwrap_or_default();
        let text: String = text.chars().take(300).collect();
        let reason = format!(
            "Elasticsearch {}: {status}: {text}",
            self.options.urls.join(",")
        );
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => SinkError::Split { reason },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SinkError::Refused {
                reason: format!("{reason}; check its login"),
            },
            StatusCode::BAD_REQUEST => SinkError::Split { reason },
            _ => SinkError::retry(reason),
        }
    }

    /// Makes our template, in the form that this server knows.
    async fn prepare(&mut self) -> Result<(), SinkError> {
        if self.prepared || !self.options.manage_template {
            self.prepared = true;
            return Ok(());
        }
        let (pattern, stream) = match &self.options.target {
            Target::Daily { prefix } => (format!("{prefix}-*"), false),
            Target::DataStream { dataset, .. } => (format!("logs-{dataset}.*-*"), true),
        };
        let forms = [Unknown::Flattened, Unknown::FlatObject, Unknown::Stored];
        let mut last = None;
        for form in forms {
            let body = template::template(
                std::slice::from_ref(&pattern),
                stream,
                form,
                self.options.typed_fields,
            );
            let path = format!("/_index_template/{TEMPLATE}");
            let response = self.call(Method::Put, &path, Some(body)).await?;
            if response.status_code().is_success() {
                self.prepared = true;
                return Ok(());
            }
            let unknown_type = response.status_code() == StatusCode::BAD_REQUEST;
            let error = self.refusal(response).await;
            if !unknown_type {
                return Err(error);
            }
            last = Some(error);
        }
        let said = last.map(|e| e.to_string()).unwrap_or_default();
        Err(SinkError::Refused {
            reason: format!(
                "{said}; the index template is not taken: set manage_template = false to use your own"
            ),
        })
    }

    /// Deletes what is older than `keep_days`, now and then. A failure is said and tried again: events are not
    /// held up.
    async fn retain(&mut self) {
        let Some(days) = self.options.keep_days else {
            return;
        };
        if self
            .retained
            .is_some_and(|at| at.elapsed() < RETENTION_EVERY)
        {
            return;
        }
        self.retained = Some(Instant::now());
        let now = chrono::Utc::now();
        let oldest = now - chrono::Days::new(u64::from(days));
        let old = match self.options.target.clone() {
            Target::Daily { prefix } => self.old_days(&prefix, oldest).await,
            Target::DataStream { dataset, namespace } => {
                self.old_parts(&dataset, &namespace, now, oldest).await
            }
        };
        let old = old.unwrap_or_else(|error| {
            tracing::warn!(%error, "old indices could not be looked for");
            Vec::new()
        });
        for index in old {
            match self.call(Method::Delete, &format!("/{index}"), None).await {
                Ok(answer) if answer.status_code().is_success() => {
                    tracing::info!(index, "an index was deleted: its days are over");
                }
                Ok(answer) => {
                    tracing::warn!(index, status = %answer.status_code(), "an old index could not be deleted");
                }
                Err(error) => {
                    tracing::warn!(index, %error, "an old index could not be deleted");
                }
            }
        }
    }

    async fn rows(&self, path: &str) -> Result<Value, SinkError> {
        let answer = self.call(Method::Get, path, None).await?;
        match answer.status_code() {
            status if status.is_success() => answer.json().await.map_err(|e| self.away(e)),
            // There is nothing yet.
            StatusCode::NOT_FOUND => Ok(Value::Null),
            _ => Err(self.refusal(answer).await),
        }
    }

    /// The daily indices of days before `oldest`.
    async fn old_days(
        &self,
        prefix: &str,
        oldest: chrono::DateTime<chrono::Utc>,
    ) -> Result<Vec<String>, SinkError> {
        let path = format!("/_cat/indices/{prefix}-*?h=index&format=json");
        let rows = self.rows(&path).await?;
        let names = rows.as_array().into_iter().flatten();
        let names = names.filter_map(|row| row["index"].as_str());
        Ok(names
            .filter(|n| day_of(prefix, n).is_some_and(|day| day < oldest.date_naive()))
            .map(str::to_owned)
            .collect())
    }

    /// The backing indices of our data streams that were rolled over before `oldest`. Those that are written to
    /// roll over once they are a day old, or large. A stream that cannot be tended does not keep the others from it.
    async fn old_parts(
        &self,
        dataset: &str,
        namespace: &str,
        now: chrono::DateTime<chrono::Utc>,
        oldest: chrono::DateTime<chrono::Utc>,
    ) -> Result<Vec<String>, SinkError> {
        let streams = format!("logs-{dataset}.*-{namespace}");
        let streams = self.rows(&format!("/_data_stream/{streams}")).await?;
        let mut old = Vec::new();
        for stream in streams["data_streams"].as_array().into_iter().flatten() {
            let name = stream["name"].as_str().unwrap_or_default();
            self.roll_over(name).await;
            match self.parts(name).await {
                Ok(made) => old.extend(over_before(made, oldest, now)),
                Err(error) => {
                    tracing::warn!(name, %error, "the indices of a data stream could not be looked for");
                }
            }
        }
        Ok(old)
    }

    /// Begins a new backing index where the one that is written to is a day old, or large. What has rolled over
    /// before can be deleted without it: a failure is said, no more.
    async fn roll_over(&self, name: &str) {
        let conditions = serde_json::json!({"conditions": {"max_age": "1d", "max_size": "50gb"}});
        let path = format!("/{name}/_rollover");
        match self.call(Method::Post, &path, Some(conditions)).await {
            Ok(answer) if answer.status_code().is_success() => {}
            Ok(answer) => {
                tracing::warn!(name, status = %answer.status_code(), "a data stream could not be rolled over");
            }
            Err(error) => {
                tracing::warn!(name, %error, "a data stream could not be rolled over");
            }
        }
    }

    /// The backing indices of a data stream, and when each was made.
    async fn parts(&self, name: &str) -> Result<Vec<(String, i64)>, SinkError> {
        let settings = self
            .rows(&format!("/{name}/_settings/index.creation_date"))
            .await?;
        let parts = settings.as_object().into_iter().flatten();
        let made = parts.filter_map(|(index, settings)| {
            let made = settings["settings"]["index"]["creation_date"].as_str()?;
            Some((index.clone(), made.parse().ok()?))
        });
        Ok(made.collect())
    }
}

/// The backing indices whose next one was made before `oldest`: nothing in them is newer. Pure.
fn over_before(
    mut made: Vec<(String, i64)>,
    oldest: chrono::DateTime<chrono::Utc>,
    now: chrono::DateTime<chrono::Utc>,
) -> Vec<String> {
    // A clock that is wrong must not delete everything.
    made.retain(|(_, at)| *at <= now.timestamp_millis());
    made.sort_by_key(|(name, at)| (*at, name.clone()));
    let ends = made.iter().skip(1).map(|(_, at)| *at);
    let old = made.iter().zip(ends);
    old.filter(|(_, end)| *end < oldest.timestamp_millis())
        .map(|((name, _), _)| name.clone())
        .collect()
}

#[async_trait]
impl Sink for Elasticsearch {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        self.prepare().await?;
        self.retain().await;
        let mut body = Vec::with_capacity(events.len() * 800);
        let mut text = Vec::new();
        for (n, event) in events.iter().enumerate() {
            if n > 0 {
                body.push(b'\n');
            }
            body.extend_from_slice(b"{\"create\":{\"_index\":\"");
            index_of(&self.options.target, &event.source, event.at, &mut body);
            body.extend_from_slice(b"\",\"_id\":\"");
            self.encoder.id(event, &mut body);
            body.extend_from_slice(b"\"}}\n{\"@timestamp\":\"");
            event.at.write(&mut body);
            body.push(b'"');
            text.clear();
            self.encoder.encode(event, &mut text);
            // The event's own text, with the name that data streams ask for before it.
            if text.len() > 2 {
                body.push(b',');
            }
            body.extend_from_slice(&text[1..]);
        }
        let bytes = body.len() as u64;
        let request = self
            .client
            .bulk(BulkParts::None)
            .body(vec![Bytes::from(body)]);
        let response = request.send().await.map_err(|e| self.away(e))?;
        if !response.status_code().is_success() {
            return Err(self.refusal(response).await);
        }
        let answer = response.bytes().await.map_err(|e| self.away(e))?;
        let delivery = sort(&answer, events.len())?;
        Ok(Delivery { bytes, ..delivery })
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        let response = self.call(Method::Get, "/", None).await?;
        match response.status_code().is_success() {
            true => self.prepare().await,
            false => Err(self.refusal(response).await),
        }
    }
}

impl SinkFactory for Options {
    fn kind(&self) -> &'static str {
        "elasticsearch"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(Elasticsearch::new(self.clone())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_stream_are_over_when_the_next_one_was_made() {
        let day = |n: i64| n * 86_400_000;
        let at = |n: i64| chrono::DateTime::from_timestamp_millis(day(n)).unwrap();
        let made = |names: &[(&str, i64)]| {
            names
                .iter()
                .map(|(n, d)| ((*n).to_owned(), day(*d)))
                .collect()
        };
        let all = made(&[("c", 8), ("a", 1), ("b", 4)]);
        assert_eq!(over_before(all, at(5), at(9)), ["a"]);
        let one = made(&[("a", 1)]);
        assert!(
            over_before(one, at(5), at(9)).is_empty(),
            "the one that is written to stays"
        );
        let wrong = made(&[("a", 1), ("b", 40)]);
        assert!(over_before(wrong, at(50), at(9)).is_empty());
    }

    /// A server of two data streams, of which the first one cannot be tended.
    async fn answer(listener: tokio::net::TcpListener) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            let line = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = line.split(' ').nth(1).unwrap();
            let (status, body) = match path {
                "/_data_stream/logs-shop.*-prod" => {
                    (200, r#"{"data_streams":[{"name":"one"},{"name":"two"}]}"#)
                }
                "/two/_settings/index.creation_date" => (
                    200,
                    r#"{"two-1":{"settings":{"index":{"creation_date":"1"}}},"two-2":{"settings":{"index":{"creation_date":"2"}}}}"#,
                ),
                _ => (403, "{}"),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_stream_that_cannot_be_tended_does_not_keep_the_next_one_from_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sink = Elasticsearch::new(Options::new(vec![url])).unwrap();
        let now = chrono::Utc::now();
        let old = tokio::select! {
            old = sink.old_parts("shop", "prod", now, now) => old,
            () = answer(listener) => unreachable!(),
        };
        assert_eq!(old.unwrap(), ["two-1"]);
    }
}
