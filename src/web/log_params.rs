//! The parameters of queries over log events, and what of them a caller may see.

use super::error::Problem;
use super::params::Limit;
use super::state::Who;
use crate::domain::id::AppName;
use crate::ports::auth::Scope;
use crate::ports::log_index::{LogFilter, QueryLanguage};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

/// A text of at most `MOST` characters, as the description says it; more would not fit into a URL.
fn text<'de, const MOST: usize, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.chars().count() {
        count if count <= MOST => Ok(text),
        count => Err(D::Error::custom(format!(
            "a text of {count} characters, of which {MOST} are taken"
        ))),
    }
}

/// The same, where it may be absent.
fn some<'de, const MOST: usize, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    text::<MOST, D>(from).map(Some)
}

macro_rules! filtered {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields, default)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// The query; absent: all events.
            #[param(value_type = Option<String>, max_length = 4096, example = "level: error and status >= 500")]
            #[serde(deserialize_with = "text::<4096, _>")]
            pub query: String,
            /// The language of the query.
            #[param(value_type = Option<QueryLanguage>, inline)]
            pub language: QueryLanguage,
            /// From this time: RFC 3339, or relative to now.
            #[param(max_length = 100, example = "now-15m")]
            #[serde(deserialize_with = "some::<100, _>")]
            pub from: Option<String>,
            /// Up to this time.
            #[param(max_length = 100, example = "now")]
            #[serde(deserialize_with = "some::<100, _>")]
            pub to: Option<String>,
            /// The zone of times that name none, and of days.
            #[param(max_length = 100, example = "Europe/Berlin")]
            #[serde(deserialize_with = "some::<100, _>")]
            pub zone: Option<String>,
            /// Only events of this app.
            #[param(value_type = Option<String>, max_length = 253)]
            pub app: Option<AppName>,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// The filter, with what the caller may see.
            pub(super) fn filter(&self, who: &Who) -> Result<LogFilter, Problem> {
                Ok(LogFilter {
                    query: self.query.clone(),
                    language: self.language,
                    from: self.from.clone(),
                    to: self.to.clone(),
                    zone: self.zone.clone(),
                    apps: visible(who, self.app.as_ref())?,
                })
            }
        }
    };
}

/// The apps whose events the caller may see, and wants to; `None`: all.
fn visible(who: &Who, app: Option<&AppName>) -> Result<Option<Vec<String>>, Problem> {
    if let Some(app) = app {
        who.must_read(Some(app.as_str()))?;
        return Ok(Some(vec![app.to_string()]));
    }
    if who.principal.may_read_all() {
        return Ok(None);
    }
    let apps = who.principal.scopes.iter().filter_map(|scope| match scope {
        Scope::App(app) => Some(app.to_string()),
        _ => None,
    });
    let apps: Vec<String> = apps.collect();
    if apps.is_empty() {
        // It has nothing to look at.
        who.must_read(None)?;
    }
    Ok(Some(apps))
}

/// The order of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// RFC 4180, with a head line.
    Csv,
}

filtered! {
    /// A search.
    SearchQuery {
        /// At most this many events.
        #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
        limit: Limit,
        /// `next` of the page before, or the cursor of any event: what follows it.
        #[param(max_length = 255)]
        #[serde(deserialize_with = "some::<255, _>")]
        after: Option<String>,
        /// Newest or oldest first.
        #[param(value_type = Option<Order>, inline)]
        order: Order,
        /// Only these fields, separated by commas.
        #[param(max_length = 1000)]
        #[serde(deserialize_with = "some::<1000, _>")]
        fields: Option<String>,
        /// Count all events that match.
        #[param(value_type = Option<bool>, default = false)]
        count: bool,
    }
}

filtered! {
    /// Bars over time.
    HistogramQuery {
        /// The width of a bar, such as `30s`, `5m`, `1d`; absent: such that there are about 50.
        #[param(max_length = 100)]
        #[serde(deserialize_with = "some::<100, _>")]
        interval: Option<String>,
        /// Break bars down by the five most frequent values of this field.
        #[param(max_length = 255)]
        #[serde(deserialize_with = "some::<255, _>")]
        by: Option<String>,
    }
}

filtered! {
    /// The values of a field.
    ValuesQuery {
        /// Which field.
        #[param(value_type = String, required = true, max_length = 255)]
        #[serde(deserialize_with = "text::<255, _>")]
        field: String,
        /// At most this many values.
        #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
        limit: Limit,
    }
}

filtered! {
    /// The fields that there are.
    FieldsQuery {
        /// Also in how many events each is.
        #[param(value_type = Option<bool>, default = false)]
        counts: bool,
    }
}

/// How many neighbours.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub struct Neighbours(pub usize);

impl Default for Neighbours {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u32> for Neighbours {
    type Error = String;
    fn try_from(value: u32) -> Result<Self, String> {
        (value <= 1000)
            .then_some(Self(value as usize))
            .ok_or_else(|| format!("{value} is not from 0 to 1000"))
    }
}

filtered! {
    /// The neighbours of an event; the query says who counts as one.
    SurroundingQuery {
        /// The cursor of the event.
        #[param(value_type = String, required = true, max_length = 255)]
        #[serde(deserialize_with = "text::<255, _>")]
        cursor: String,
        /// This many before it.
        #[param(value_type = Option<u32>, maximum = 1000, default = 5)]
        before: Neighbours,
        /// This many after it.
        #[param(value_type = Option<u32>, maximum = 1000, default = 5)]
        after: Neighbours,
    }
}

filtered! {
    /// Statistics.
    StatsQuery {
        /// The number field; absent: only counts and rates.
        #[param(max_length = 255)]
        #[serde(deserialize_with = "some::<255, _>")]
        field: Option<String>,
        /// For each value of this field.
        #[param(max_length = 255)]
        #[serde(deserialize_with = "some::<255, _>")]
        by: Option<String>,
        /// For each span of this length, such as `1m`.
        #[param(max_length = 100)]
        #[serde(deserialize_with = "some::<100, _>")]
        interval: Option<String>,
        /// Quantiles from 0 to 1, separated by commas.
        #[param(max_length = 255, example = "0.5,0.95,0.99")]
        #[serde(deserialize_with = "some::<255, _>")]
        quantiles: Option<String>,
        /// At most this many values of `by`.
        #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
        limit: Limit,
    }
}

filtered! {
    /// Access logs by route.
    RoutesQuery {
        /// The field whose values are the routes; absent: `url.path`.
        #[param(max_length = 255, example = "nginx.route")]
        #[serde(deserialize_with = "some::<255, _>")]
        by: Option<String>,
        /// Quantiles of the durations from 0 to 1, separated by commas; absent: 0.5, 0.95 and 0.99.
        #[param(max_length = 255, example = "0.5,0.95,0.99")]
        #[serde(deserialize_with = "some::<255, _>")]
        quantiles: Option<String>,
        /// At most this many routes.
        #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
        limit: Limit,
    }
}

filtered! {
    /// Events as they come.
    TailQuery {}
}

filtered! {
    /// All events that match.
    ExportQuery {
        /// In which form.
        #[param(value_type = Option<ExportFormat>, inline)]
        format: ExportFormat,
        /// Newest or oldest first.
        #[param(value_type = Option<Order>, inline)]
        order: Order,
        /// Only these fields, separated by commas.
        #[param(max_length = 1000)]
        #[serde(deserialize_with = "some::<1000, _>")]
        fields: Option<String>,
    }
}

/// A saved search in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SavedPath {
    /// Its name.
    #[param(max_length = 100)]
    pub name: String,
}
