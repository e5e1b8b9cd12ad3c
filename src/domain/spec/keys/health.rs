//! The keys of health checks, restarts, schedules, updates and supervision.

use super::form::{COMMAND, CRON, NON_EMPTY, PROBE_PATH, SHARE};
use super::{Kind, Section, key};

/// A command: words, or text with shell quoting.
pub(super) static WORDS_OR_LINE: Kind = Kind::OneOf(&[
    Kind::Text(&COMMAND),
    Kind::List(&Kind::Text(&super::form::ANY_TEXT)),
]);

static PROBE_TYPE: Kind = Kind::Words(&["http", "tcp", "command"]);
static PORT: Kind = Kind::Int(1, 65535);
static RETRIES: Kind = Kind::Int(1, 100);
static SHORT: Kind = Kind::Duration(1, 3600);
static START_PERIOD: Kind = Kind::Duration(0, 86_400);

/// `healthcheck` in its full form.
pub(super) static HEALTH: Section = Section::new(
    "healthcheck",
    "what is probed, how often, and how many failures count as a crash",
    &[&[
        key("type", &PROBE_TYPE, "What is probed.")
            .ours()
            .default("`command` with a command, `http` with a path, else `tcp`"),
        key(
            "path",
            &Kind::Text(&PROBE_PATH),
            "http: path and query to GET; 2xx and 3xx are healthy.",
        )
        .ours()
        .default("`/`"),
        key("port", &PORT, "http and tcp: the port in the container.")
            .ours()
            .default("the proc's first tcp port"),
        key(
            "command",
            &WORDS_OR_LINE,
            "command: run in the container; exit code 0 is healthy.",
        )
        .ours(),
        key(
            "interval",
            &SHORT,
            "From the end of one probe to the start of the next.",
        )
        .ours()
        .default("10s"),
        key("timeout", &SHORT, "A probe that takes longer has failed.")
            .ours()
            .default("3s"),
        key(
            "retries",
            &RETRIES,
            "Failures in a row that count as a crash.",
        )
        .ours()
        .default("3"),
        key(
            "start_period",
            &START_PERIOD,
            "Failures do not count for this long after a start, until the first success.",
        )
        .ours()
        .default("30s, or `setup_time` if that is longer"),
    ]],
)
.hints(&[
    ("cmd", "command"),
    ("url", "path"),
    ("test", "command"),
    ("initial_delay", "start_period"),
]);

static CONTAINER_OPTIONS: Section = Section::new(
    "container_healthcheck_options",
    "how often, and how many failures count",
    &[&[
        key("interval", &SHORT, "Between two checks, at least 10 s.").default("10"),
        key(
            "timeout",
            &SHORT,
            "A check that takes longer has failed, at least 3 s.",
        )
        .default("3"),
        key(
            "retries",
            &RETRIES,
            "Failures in a row that count as a crash, at least 3.",
        )
        .default("3"),
    ]],
);

/// `container_healthcheck`, LAIN's form.
pub(super) static CONTAINER_HEALTH: Section = Section::new(
    "container_healthcheck",
    "a command that tells whether the container is healthy",
    &[&[
        key(
            "cmd",
            &Kind::Text(&NON_EMPTY),
            "Run in the container by `/bin/sh -c`; exit code 0 is healthy.",
        )
        .required(),
        key(
            "options",
            &Kind::Keys(&CONTAINER_OPTIONS),
            "How often, and how many failures count.",
        ),
    ]],
);

static POLICY: Kind = Kind::Words(&["permanent", "transient", "temporary"]);
static INTENSITY: Kind = Kind::Int(0, 1000);
static PERIOD: Kind = Kind::Duration(1, 86_400);

/// `restart` in its full form.
pub(super) static RESTART: Section = Section::new(
    "restart",
    "which exits are followed by a restart, and when to give up",
    &[&[
        key(
            "policy",
            &POLICY,
            "Restarted after any exit, after an abnormal one only, or never.",
        )
        .ours()
        .default("`permanent`; oneshot and cron: `transient`"),
        key(
            "intensity",
            &INTENSITY,
            "Restarts allowed within `period`; one more is escalated.",
        )
        .ours()
        .default("5"),
        key("period", &PERIOD, "The window of `intensity`.")
            .ours()
            .default("60s"),
        key(
            "max_backoff",
            &Kind::Duration(0, 3600),
            "The longest pause between two restarts.",
        )
        .ours()
        .default("30s"),
    ]],
);

/// `restart`: a policy, or the full form.
pub(super) static RESTART_KIND: Kind = Kind::OneOf(&[
    Kind::Words(&["permanent", "transient", "temporary"]),
    Kind::Keys(&RESTART),
]);

static SCHEDULE: Section = Section::new(
    "schedule",
    "when a cron proc runs",
    &[&[
        key("cron", &Kind::Text(&CRON), "Five-field cron expression, in UTC.").ours().required(),
        key("overlap", &Kind::Words(&["skip", "queue", "replace", "allow"]), "When a run is due while the last one runs: leave it out, start it afterwards (at most one waits), stop the old one, or run both.").ours().default("`skip`"),
    ]],
);

/// `schedule`: an expression, or the full form.
pub(super) static SCHEDULE_KIND: Kind = Kind::OneOf(&[Kind::Text(&CRON), Kind::Keys(&SCHEDULE)]);

/// A number of instances, or per cent of them.
static SHARE_KIND: Kind = Kind::OneOf(&[Kind::Int(0, 1000), Kind::Text(&SHARE)]);

/// `update`.
pub(super) static UPDATE: Section = Section::new(
    "update",
    "how a new version replaces the old one",
    &[&[
        key(
            "order",
            &Kind::Words(&["start_first", "stop_first"]),
            "Start the new instance before the old one is stopped, or after.",
        )
        .ours()
        .default("`start_first`; with `stateful` or volumes: `stop_first`"),
        key(
            "parallelism",
            &Kind::Int(1, 1000),
            "Instances replaced at a time, instead of `max_surge` and `max_unavailable`.",
        )
        .ours(),
        key(
            "max_surge",
            &SHARE_KIND,
            "How many more instances than wanted there may be: a number, or per cent, rounded up.",
        )
        .ours()
        .default("25%; where the old one stops first: 0"),
        key(
            "max_unavailable",
            &SHARE_KIND,
            "How many fewer instances than wanted may be available: a number, or per cent, rounded down.",
        )
        .ours()
        .default("0; without a surge: 25%, at least 1"),
        key(
            "min_healthy_time",
            &Kind::Duration(0, 3600),
            "A new instance is available once it was healthy for this long without a break.",
        )
        .ours()
        .default("0s; without a health check: 1s"),
        key(
            "canary",
            &Kind::Int(0, 1000),
            "Instances that are updated first and watched; the others wait for `lain promote` or `lain abort`.",
        )
        .ours()
        .default("0"),
        key(
            "progress_deadline",
            &PERIOD,
            "An update without progress for this long has failed.",
        )
        .ours()
        .default("300s"),
        key(
            "auto_rollback",
            &Kind::Bool,
            "Go back to the last good version when an update fails.",
        )
        .ours()
        .default("true"),
    ]],
);

static STRATEGY: Kind = Kind::Words(&["one_for_one", "one_for_all", "rest_for_one"]);

static SUPERVISION: Section = Section::new(
    "supervision",
    "how one proc's crash touches the app's other procs",
    &[&[
        key(
            "strategy",
            &STRATEGY,
            "Who else is restarted: nobody, all procs, or the procs after it in the file.",
        )
        .ours()
        .default("`one_for_one`"),
        key(
            "intensity",
            &INTENSITY,
            "Crashes allowed within `period`; one more and the app is degraded.",
        )
        .ours()
        .default("5"),
        key("period", &PERIOD, "The window of `intensity`.")
            .ours()
            .default("60s"),
    ]],
);

/// `supervision`: a strategy, or the full form.
pub(super) static SUPERVISION_KIND: Kind = Kind::OneOf(&[
    Kind::Words(&["one_for_one", "one_for_all", "rest_for_one"]),
    Kind::Keys(&SUPERVISION),
]);
