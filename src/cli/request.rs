//! What is asked of the API: a path with its query, and a change with its conditions.
//!
//! Plain data; `client` sends it.

use crate::cli::error::{CliError, Result};
use reqwest::{Method, Url};

/// A path below `/api/v1` with its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// A path of these segments; each is escaped as needed.
    pub fn new<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Self {
        let segments = segments.into_iter();
        Self {
            segments: segments.map(|s| s.as_ref().to_owned()).collect(),
            query: Vec::new(),
        }
    }

    /// Adds one more segment.
    #[must_use]
    pub fn join(mut self, segment: &str) -> Self {
        self.segments.push(segment.to_owned());
        self
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a query parameter if there is a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// The whole URL at this server.
    ///
    /// # Errors
    /// Where `server` cannot hold a path.
    pub fn url(&self, server: &str) -> Result<Url> {
        let wrong = || CliError::usage(format!("{server} is not a server's address"));
        let mut url = Url::parse(server).map_err(|_| wrong())?;
        url.path_segments_mut()
            .map_err(|()| wrong())?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(&self.segments);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

/// Which state of an object a change is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever there is, or an object that has no `ETag`.
    Anything,
    /// The one with this number in its `ETag` (`If-Match`).
    Etag(u64),
    /// That there is none yet (`If-None-Match: *`).
    Absent,
}

/// A change: what is sent besides the path.
#[derive(Debug, Clone)]
pub struct Change {
    /// The method.
    pub method: Method,
    /// The JSON body.
    pub body: Option<Vec<u8>>,
    /// Which state it is meant for.
    pub expect: Expect,
}

impl Change {
    /// A change without a body.
    pub fn new(method: Method) -> Self {
        Self {
            method,
            body: None,
            expect: Expect::Anything,
        }
    }

    /// With this body.
    ///
    /// # Errors
    /// Where `body` cannot be written as JSON.
    pub fn body<T: serde::Serialize>(mut self, body: &T) -> Result<Self> {
        let text = serde_json::to_vec(body)
            .map_err(|error| CliError::failed(format!("cannot write the request: {error}")))?;
        self.body = Some(text);
        Ok(self)
    }

    /// For this state only.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_escaped() {
        let target = Target::new(["supervision", "a b/c"])
            .query("path", "apps/app/x y")
            .maybe("depth", None::<u32>);
        assert_eq!(
            target.url("http://h:1").unwrap().as_str(),
            "http://h:1/api/v1/supervision/a%20b%2Fc?path=apps%2Fapp%2Fx+y"
        );
        let below = Target::new(["apps"]).url("http://h:1/lain/").unwrap();
        assert_eq!(below.as_str(), "http://h:1/lain/api/v1/apps");
    }
}
