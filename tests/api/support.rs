//! A server for each test, and requests that read as prose.

use lain::domain::id::AppName;
use lain::ports::auth::Scope;
use lain::web::testing::{MemoryControl, MemoryTokens};
use lain::web::{Limits, Metrics, Running, WebOptions, serve};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub const ADMIN: &str = "admin-token";
pub const READ: &str = "read-token";
/// May do everything with app hello, and nothing else.
pub const HELLO: &str = "hello-token";
pub const NOTHING: &str = "token-without-scopes";

/// A server with its control host.
pub struct Api {
    pub control: Arc<MemoryControl>,
    pub url: String,
    pub running: Option<Running>,
    client: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Api {
    /// With limits that no test reaches by chance.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With other options.
    pub async fn with(change: impl FnOnce(&mut WebOptions)) -> Self {
        let control = Arc::new(MemoryControl::new());
        let mut options = WebOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            limits: Limits {
                rate: 10_000,
                burst: 10_000,
                ..Limits::default()
            },
            stop_deadline: Duration::from_secs(2),
            ..WebOptions::default()
        };
        change(&mut options);
        let hello = Scope::App(AppName::new("hello").unwrap());
        let tokens = MemoryTokens::new()
            .with(ADMIN, "admin", vec![Scope::Admin])
            .with(READ, "reader", vec![Scope::Read])
            .with(HELLO, "ci", vec![hello])
            .with(NOTHING, "nobody", vec![]);
        let metrics = Arc::new(Metrics::new());
        let running = serve(options, control.clone(), Arc::new(tokens), metrics).unwrap();
        Self {
            control,
            url: format!("http://{}", running.addr),
            running: Some(running),
            client: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
        }
    }

    /// A request without a token; a path without `/` at its start is below `/api/v1/`.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        let url = match path.strip_prefix('/') {
            Some(_) => format!("{}{path}", self.url),
            None => format!("{}/api/v1/{path}", self.url),
        };
        self.client.request(method, url)
    }

    /// A request of an administrator.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(ADMIN)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).answer().await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.request(Method::POST, path).answer().await
    }

    /// Deploys an app of a web proc with three instances and a worker, whatever was there.
    pub async fn deploy(&self, app: &str) -> Answer {
        self.put(app, &lain_yaml(app))
            .header("if-match", "*")
            .answer()
            .await
    }

    /// A deploy of this file.
    pub fn put(&self, app: &str, yaml: &str) -> RequestBuilder {
        self.request(Method::PUT, &format!("apps/{app}"))
            .json(&json!({ "lain_yaml": yaml }))
    }
}

/// A file that passes.
pub fn lain_yaml(app: &str) -> String {
    format!(
        "appname: {app}\nweb:\n  image: {app}\n  num_instances: 3\nworker.queue:\n  image: {app}\n  cmd: work\n"
    )
}

/// What can be done with a request in a test.
pub trait Send {
    async fn answer(self) -> Answer;
}

impl Send for RequestBuilder {
    async fn answer(self) -> Answer {
        let response = self.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// It is a whole problem of this type.
    #[track_caller]
    pub fn problem_is(self, status: u16, word: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let body = answer.json();
        assert_eq!(body["type"], format!("urn:lain:problem:{word}"), "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["request_id"], answer.header("x-request-id"), "{body}");
        for field in ["title", "detail", "instance"] {
            assert!(
                body[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field} in {body}"
            );
        }
        answer
    }

    /// The detail says this.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        let detail = self.json()["detail"].to_string();
        assert!(detail.contains(part), "{part:?} is not in {detail}");
        self
    }
}
