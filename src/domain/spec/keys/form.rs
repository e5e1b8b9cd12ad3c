//! The forms of text that keys take: words for people, a pattern for editors, a check for us.
//!
//! The pattern is for the JSON Schema and may accept more than the check, never less; a test
//! holds the two against each other.

use crate::domain::spec::value::{self, Read, Wrong};

/// A form of text.
#[derive(Debug)]
pub struct Form {
    /// What it is, in words.
    pub expected: &'static str,
    /// An ECMA 262 pattern that every accepted text matches; `None`: any text.
    pub pattern: Option<&'static str>,
    /// Texts that are accepted, for the docs, the schema and the tests.
    pub examples: &'static [&'static str],
    rule: fn(&str) -> Read<()>,
}

impl Form {
    /// Says what is wrong with a text.
    pub(in crate::domain::spec) fn check(&self, text: &str) -> Read<()> {
        match text.chars().position(|c| c == '\0') {
            // The kernel takes it for the end of a text, so it can be in no argument, path or variable.
            Some(offset) => Err(Wrong::form("it contains a NUL character").at(offset)),
            None => (self.rule)(text),
        }
    }
}

macro_rules! forms {
    ($($name:ident: $expected:literal, $pattern:expr, $examples:expr, $check:expr;)*) => {
        $(pub(in crate::domain::spec) static $name: Form = Form {
            expected: $expected,
            pattern: $pattern,
            examples: &$examples,
            rule: |text| $check(text).map(drop),
        };)*

        /// Every form, for the tests.
        #[cfg(test)]
        pub(in crate::domain::spec) static ALL_FORMS: &[(&str, &Form)] = &[$((stringify!($name), &$name)),*];
    };
}

const NAME: &str = "^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$";
const NOT_BLANK: &str = "\\S";

forms! {
    ANY_TEXT: "text", None, ["text"], |_: &str| Read::Ok(());
    NON_EMPTY: "text that is not empty", Some(NOT_BLANK), ["make all"], value::non_empty;
    APP_NAME: "an app name: letters, digits and single inner dashes, a letter first", Some(NAME), ["hello-world"], value::app_name;
    PROC_NAME: "a proc name: letters, digits and single inner dashes, a letter first", Some(NAME), ["redis-ctl"], value::proc_name;
    NO_BLANK: "text without blanks", Some("^\\S+$"), ["https://github.com/laincloud/registry"], value::no_blank;
    USER: "a user, a number, or user:group; empty for the image's own", Some("^\\S*$"), ["nobody", "1000:1000", ""], |text: &str| if text.is_empty() { Ok(String::new()) } else { value::no_blank(text) };
    IMAGE: "an image reference", Some("^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$"), ["golang:1.10"], value::image;
    COMMAND: "a command line, with shell quoting", None, ["nginx -g \"daemon off;\"", ""], value::command;
    WORKDIR: "an absolute path, or empty for the image's own", Some("^(/.*)?$"), ["/srv", ""], |text: &str| if text.is_empty() { Ok(String::new()) } else { value::absolute_or_app(text) };
    ABSOLUTE: "an absolute path", Some("^/"), ["/root/.m2"], value::absolute_or_app;
    VOLUME: "a path, absolute or below /lain/app", Some(NOT_BLANK), ["/var/lib/mysql/", "data"], value::volume;
    SECRET_FILE: "a file's path, absolute or below /lain/app", Some(NOT_BLANK), ["conf/secret.conf"], value::secret_file;
    LOG_NAME: "a file name, relative to /lain/logs", Some("^[^/]"), ["nginx.log"], value::log_name;
    COPY_PATH: "a path, absolute or below /lain/app, or starting with $", Some(NOT_BLANK), ["frontend/build", "$GOPATH/bin/x"], value::copy_path;
    KEPT_NAME: "a name in /lain/app", Some("^[^/]+$"), ["node_modules"], value::kept_name;
    HOOK: "a program, absolute or below /lain/app", Some(NOT_BLANK), ["tools/backup.sh"], value::backup_hook;
    ENV: "NAME=VALUE", Some("^[^=\\s]+="), ["HTTPS=false", "EMPTY="], value::env_variable;
    BUILD_ARG: "NAME=VALUE; a value that starts with $ comes from the caller's environment", Some("^[A-Za-z_][A-Za-z0-9_]*="), ["VERSION=$VERSION"], value::build_argument;
    LABEL: "KEY:VALUE", Some(":"), ["team:infra"], value::label;
    FILTER: "constraint:KEY==VALUE or affinity:KEY==VALUE, with == or != (==~ or !=~ for a preference)", Some("^(constraint|affinity):[^\\s]+[=!]=[^\\s]+$"), ["constraint:disk==ssd", "affinity:group!=~batch"], value::filter;
    MEMORY: "an amount of memory such as 256m or 1g", Some("^[1-9][0-9]*([kKmMgG][bB]?|[bB])?$"), ["32m", "1GB", "67108864"], value::memory;
    DURATION: "a duration such as 30s or 5m", Some("^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$"), ["30s", "1.5s", "250ms"], value::duration;
    CRON: "a five-field cron expression", Some("^\\s*\\S+(\\s+\\S+){4}\\s*$"), ["*/5 * * * *"], value::cron;
    CRON_OR_EMPTY: "a five-field cron expression, or empty for no backups", Some("^(\\s*\\S+(\\s+\\S+){4}\\s*)?$"), ["0 3 * * 1", ""], |text: &str| if text.is_empty() { Ok(String::new()) } else { value::cron(text) };
    EXPIRE: "minutes, hours or days such as 30m, 12h or 10d", Some("^[1-9][0-9]*[mhd]$"), ["10d"], value::expire;
    PORT_TEXT: "PORT:tcp or PORT:udp", Some("^[1-9][0-9]{0,4}:(tcp|udp)$"), ["53:udp"], value::port_text;
    PORT_KEY: "a port number", Some("^[1-9][0-9]{0,4}$"), ["80"], |text: &str| value::port_text(&format!("{text}:tcp"));
    PROTOCOL: "type:tcp or type:udp", Some("^type:(tcp|udp)$"), ["type:udp"], value::protocol_text;
    STREAM_PORT: "SRC, SRC:DST, SRC:DST/tcp or SRC:DST/udp, SRC from 9500 to 10000", Some("^[1-9][0-9]{3,4}(:[1-9][0-9]{0,4})?(/(tcp|udp))?$"), ["9500", "9600:53/udp"], value::stream_port;
    MOUNTPOINT: "HOST, HOST/PATH or /PATH", Some("^[^\\s:?#/]*(/\\S*)?$"), ["icinga.lain.local", "www.example.com/api", "/web", "/"], value::mountpoint;
    HEALTH_PATH: "a path that starts with /, or empty for none", Some("^(/\\S*)?$"), ["/api/ping", ""], |text: &str| if text.is_empty() { Ok(String::new()) } else { value::health_path(text) };
    PROBE_PATH: "a path that starts with /", Some("^/\\S*$"), ["/healthz?full=1"], value::health_path;
    PREPARE_VERSION: "a version of letters and digits", Some("^[A-Za-z0-9]{1,64}$"), ["redis20160510"], value::prepare_version;
    SHARE: "per cent such as 25%", Some("^[0-9]{1,3}%$"), ["25%", "100%"], value::share;
    DNS_NAME: "a domain name", Some("^[A-Za-z0-9_.-]+$"), ["example.com"], value::dns_name;
}
