//! Vector's HTTP form: POST of JSON lines, for Vector's `http_server` source and what speaks like it.

use crate::domain::log::LogEvent;
use crate::domain::secret::Secret;
use crate::logging::event::Encoder;
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use std::io::Write;
use std::time::Duration;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A receiver.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Sent as basic authentication.
    pub login: Option<(String, Secret)>,
    /// Whether bodies are compressed (gzip).
    pub compress: bool,
}

/// The sink.
pub struct Http {
    options: Options,
    client: reqwest::Client,
    encoder: Encoder,
}

impl Http {
    /// Not connected yet.
    ///
    /// # Errors
    /// [`SinkError::Refused`] when no client can be made.
    pub fn new(options: Options) -> Result<Self, SinkError> {
        let builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        let client = builder.build().map_err(|e| SinkError::Refused {
            reason: format!("HTTP {}: {e}", options.url),
        })?;
        Ok(Self {
            options,
            client,
            encoder: Encoder::default(),
        })
    }

    fn request(&self, body: Vec<u8>) -> reqwest::RequestBuilder {
        let mut request = self
            .client
            .post(&self.options.url)
            .header(CONTENT_TYPE, "application/x-ndjson");
        if let Some(token) = &self.options.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some((user, password)) = &self.options.login {
            request = request.basic_auth(user, Some(password.expose()));
        }
        if self.options.compress {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        request.body(body)
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), SinkError> {
        let url = &self.options.url;
        let away = |error: reqwest::Error| {
            SinkError::retry(format!("HTTP {url}: {}", error.without_url()))
        };
        let answer = self.request(body).send().await.map_err(away)?;
        let status = answer.status().as_u16();
        let after = answer.headers().get(RETRY_AFTER);
        let after = after
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok());
        let text = match answer.status().is_success() {
            true => return Ok(()),
            false => answer.text().await.unwrap_or_default(),
        };
        let text: String = text.chars().take(300).collect();
        let reason = format!("HTTP {url}: {status}: {text}");
        Err(match status {
            // What is wrong with one of them is found by halving.
            400 | 413 | 422 => SinkError::Split { reason },
            401 | 403 | 404 | 405 => SinkError::Refused {
                reason: format!("{reason}; check its url and credentials"),
            },
            _ => SinkError::Retry {
                reason,
                after: after.map(Duration::from_secs),
            },
        })
    }
}

#[async_trait]
impl Sink for Http {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        let mut body = Vec::with_capacity(events.len() * 600);
        for event in events {
            self.encoder.encode(event, &mut body);
            body.push(b'\n');
        }
        if self.options.compress {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            let done = packed.write_all(&body).and_then(|()| packed.finish());
            body = done.map_err(|e| SinkError::retry(format!("gzip: {e}")))?;
        }
        let bytes = body.len() as u64;
        self.post(body).await?;
        Ok(Delivery {
            bytes,
            ..Delivery::default()
        })
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        // An empty body holds no event.
        let body = match self.options.compress {
            true => GzEncoder::new(Vec::new(), Compression::fast())
                .finish()
                .unwrap_or_default(),
            false => Vec::new(),
        };
        match self.post(body).await {
            Err(SinkError::Split { .. }) | Ok(()) => Ok(()),
            other => other,
        }
    }
}

impl SinkFactory for Options {
    fn kind(&self) -> &'static str {
        "http"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(Http::new(self.clone())?))
    }
}
