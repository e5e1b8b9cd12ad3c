//! The configuration as an operator meets it: layers, origins, and every error with its place.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use lain::config::{Config, DEFAULTS, FileSource, Flag, KEYS, Sources};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sources made of files with the given texts, in order.
struct Fixture {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Fixture {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = Sources::isolated(&dir.path().join("data"));
        for (n, text) in files.iter().enumerate() {
            let path = dir.path().join(format!("{n}.toml"));
            std::fs::write(&path, text).unwrap();
            sources.files.push(FileSource {
                path,
                required: true,
            });
        }
        Self { dir, sources }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, flag: &str, key: &'static str, value: &str) -> Self {
        self.sources.flags.push(Flag {
            flag: flag.to_owned(),
            key,
            value: value.to_owned(),
        });
        self
    }

    fn load(&self) -> Config {
        Config::load(&self.sources).unwrap()
    }

    /// The errors, with the directory taken out.
    fn errors(&self) -> Vec<String> {
        let errors = Config::load(&self.sources).unwrap_err();
        let dir = format!("{}/", self.dir.path().display());
        let shown = errors.errors().iter();
        shown.map(|e| e.to_string().replace(&dir, "")).collect()
    }

    fn origin(&self, key: &str) -> (String, String) {
        let dir = format!("{}/", self.dir.path().display());
        let config = self.load();
        let all = config.origins().into_iter();
        let (_, value, origin) = all.into_iter().find(|(k, ..)| *k == key).unwrap();
        (value, origin.to_string().replace(&dir, ""))
    }
}

#[test]
fn the_built_in_settings_are_complete_and_right() {
    let config = Fixture::new(&[]).load();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7419");
    assert_eq!(config.limits.max_body.0, 4 * 1024 * 1024);
    assert_eq!(config.supervision.first_backoff, Duration::from_millis(100));
    assert_eq!(config.node.name.as_str(), "local");
    assert_eq!(config.node.ports.ports(), 20000..=29999);
    assert_eq!(config.registry.address, None);
    assert!(config.auth.enabled);
    assert_eq!(config.origins().len(), KEYS.len());
}

#[test]
fn every_key_has_a_comment_in_the_built_in_file() {
    let mut explained = false;
    let mut section = String::new();
    let mut seen = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            seen.push((format!("{section}.{key}"), explained));
        }
        // A comment may speak for the keys that follow it without a gap.
        explained = line.starts_with('#') || (explained && !line.is_empty());
    }
    for (name, explained) in &seen {
        assert!(explained, "{name} has no comment");
    }
    let mut names: Vec<_> = seen.into_iter().map(|(name, _)| name).collect();
    let mut keys: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    names.sort();
    keys.sort();
    assert_eq!(names, keys, "config/default.toml and the schema differ");
}

#[test]
fn later_layers_win_and_say_so() {
    let fixture = Fixture::new(&[
        "[server]\nlisten = \"127.0.0.1:1\"\n[limits]\nstreams = 7\n[log]\nlevel = \"warn\"",
        "[server]\n  listen = \"127.0.0.1:2\"",
    ])
    .env("LAIN_LIMITS__STREAMS", "9")
    .env("LAIN_LOG", "debug")
    .flag("--log-level", "log.level", "trace");
    let origin = |key| fixture.origin(key);
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(origin("server.listen"), pair("127.0.0.1:2", "1.toml:2:3"));
    assert_eq!(origin("limits.streams"), pair("9", "LAIN_LIMITS__STREAMS"));
    assert_eq!(origin("log.level"), pair("trace", "--log-level"));
    assert_eq!(origin("auth.enabled"), pair("true", "built-in"));
    assert_eq!(fixture.load().limits.streams, 9);
}

#[test]
fn dotted_and_inline_forms_are_the_same_keys() {
    let text = "server.listen = \"[::1]:5\"\nlog = { level = \"info,lain=trace\" }";
    let fixture = Fixture::new(&[text]);
    assert_eq!(fixture.load().server.listen.to_string(), "[::1]:5");
    assert_eq!(fixture.origin("server.listen").1, "0.toml:1:8");
    assert_eq!(fixture.origin("log.level").1, "0.toml:2:9");
}

#[test]
fn lists_are_arrays_in_files_and_have_commas_in_the_environment() {
    let names = |fixture: &Fixture| fixture.load().server.allowed_hosts;
    let fixture = Fixture::new(&["[server]\nallowed_hosts = [\"lain.example.com\", \"b\"]"]);
    assert_eq!(names(&fixture), ["lain.example.com", "b"]);
    assert_eq!(
        fixture.origin("server.allowed_hosts").0,
        "lain.example.com,b"
    );
    let fixture = fixture.env("LAIN_SERVER__ALLOWED_HOSTS", "a.example.com, c");
    assert_eq!(names(&fixture), ["a.example.com", "c"]);
    for (value, problem) in [
        (
            "\"lain\"",
            "expected an array of strings, found string \"lain\"",
        ),
        ("[1]", "expected an array of strings, found an array"),
        ("[\"http://lain\"]", "without scheme, port or path"),
        ("[\"lain:80\"]", "without scheme, port or path"),
    ] {
        let text = format!("[server]\nallowed_hosts = {value}");
        let fixture = Fixture::new(&[&text]);
        let errors = Config::load(&fixture.sources).unwrap_err().to_string();
        assert!(errors.contains(problem), "{errors}");
    }
}

#[test]
fn the_contexts_of_the_command_line_share_the_users_file() {
    let text = "current_context = \"a\"\n[contexts.a]\nserver = \"http://127.0.0.1:1\"";
    Fixture::new(&[text]).load();
}

#[test]
fn every_error_is_reported_at_once_with_its_place() {
    let fixture = Fixture::new(&[
        "[server]\nlisen = \"127.0.0.1:1\"\n\n[limits]\n  streams = \"many\"\nmax_body = 3.5\n",
        "colour = true\nlog = 5\n[engine]\nkind = \"podman\"\ndocker_host = \"/run/docker.sock\"\n[node]\nports = \"30000-20000\"",
    ])
    .env("LAIN_SERVR__LISTEN", "x")
    .env("LAIN_RECONCILE__INTERVAL", "0s")
    .env("LAIN_TOKEN_FILE", "/not/a/setting")
    .env("LAIN_APPNAME", "set-in-every-container")
    .flag("--cpu", "limits.cpu", "1");
    insta::assert_snapshot!(fixture.errors().join("\n"));
}

#[test]
fn text_that_is_no_toml_has_a_place_too() {
    let errors = Fixture::new(&["[server]\nlisten = \"127.0.0.1:1\nx = 1\n"]).errors();
    assert!(errors[0].starts_with("0.toml:2:"), "{errors:?}");
    assert!(errors[0].contains("not TOML"), "{errors:?}");
    let errors = Fixture::new(&["[log]\nlevel = \"info\"\nlevel = \"warn\"\n"]).errors();
    assert!(
        errors[0].starts_with("0.toml:3:1: not TOML: duplicate key"),
        "{errors:?}"
    );
}

#[test]
fn a_required_file_must_be_there_and_an_optional_one_need_not() {
    let mut fixture = Fixture::new(&[]);
    let path = PathBuf::from("/nonexistent/lain.toml");
    fixture.sources.files.push(FileSource {
        path: path.clone(),
        required: false,
    });
    fixture.load();
    fixture.sources.files[0].required = true;
    let errors = fixture.errors();
    assert!(
        errors[0].starts_with("/nonexistent/lain.toml:1:1: cannot be read"),
        "{errors:?}"
    );
}

#[test]
fn secrets_are_shown_nowhere_and_refused_as_flags() {
    let fixture = Fixture::new(&["[registry]\npassword = \"hunter2\""]);
    let config = fixture.load();
    assert_eq!(
        config.registry.password.as_ref().unwrap().expose(),
        "hunter2"
    );
    assert_eq!(
        fixture.origin("registry.password"),
        ("***".into(), "0.toml:2:1".into())
    );
    assert!(!format!("{config:?}").contains("hunter2"));

    let wrong = Fixture::new(&["[registry]\npassword = 4711"]).errors();
    assert_eq!(wrong, ["0.toml:2:1: registry.password: expected a string"]);
    let flag = Fixture::new(&[]).flag("--password", "registry.password", "hunter2");
    let errors = flag.errors();
    assert!(
        errors[0].contains("is secret") && !errors[0].contains("hunter2"),
        "{errors:?}"
    );
}

#[test]
fn auto_depends_on_the_machine() {
    let mut sources = Sources::isolated(Path::new("/unused"));
    sources.flags.clear();
    let data_dir = |sources: &Sources| Config::load(sources).map(|c| c.server.data_dir);
    let message = data_dir(&sources).unwrap_err().to_string();
    assert!(
        message.contains("server.data_dir: neither HOME nor"),
        "{message}"
    );
    sources.facts.data_home = Some(PathBuf::from("/home/ann/.local/share"));
    assert_eq!(
        data_dir(&sources).unwrap(),
        Path::new("/home/ann/.local/share/lain")
    );
    sources.facts.root = true;
    assert_eq!(data_dir(&sources).unwrap(), Path::new("/var/lib/lain"));

    sources.facts.docker_host = Some("tcp://10.0.0.1:2375".to_owned());
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.engine.docker_host, "tcp://10.0.0.1:2375");
    let origins = config.origins();
    let host = origins
        .iter()
        .find(|(key, ..)| *key == "engine.docker_host");
    assert_eq!(host.unwrap().2.to_string(), "DOCKER_HOST");
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let open = Fixture::new(&["[server]\nlisten = \"0.0.0.0:7419\"\n[auth]\nenabled = false"]);
    let errors = open.errors();
    assert!(
        errors[0].starts_with("0.toml:4:1: auth.enabled: false is possible only"),
        "{errors:?}"
    );
    let backoff = Fixture::new(&["[supervision]\nfirst_backoff = \"1h\""]).errors();
    assert!(
        backoff[0].starts_with("0.toml:2:1: supervision.first_backoff"),
        "{backoff:?}"
    );
}

/// The files that the repository ships, by their path from its root.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_samples_are_right() {
    for name in ["server", "agent", "dev"] {
        let mut sources = Sources::isolated(Path::new("/unused"));
        sources.files.push(FileSource {
            path: shipped(&format!("config/{name}.sample.toml")),
            required: true,
        });
        let config = Config::load(&sources).unwrap_or_else(|e| panic!("{e}"));
        let own = config.origins().into_iter();
        let own = own.filter(|(.., origin)| origin.to_string().contains("sample"));
        assert!(own.count() >= 4, "{name} says nothing");
    }
}

#[test]
fn the_systemd_units_keep_what_the_documentation_promises() {
    for name in ["lain", "lain-server", "lain-agent"] {
        let path = shipped(&format!("config/systemd/{name}.service"));
        let unit = std::fs::read_to_string(path).unwrap();
        for promised in [
            "Type=notify",
            "KillMode=process",
            "WatchdogSec=30",
            "Restart=on-failure",
            "StartLimitIntervalSec=0",
            "StateDirectoryMode=0700",
        ] {
            let line = unit.lines().find(|line| *line == promised);
            assert!(line.is_some(), "{name}.service lacks {promised}");
        }
    }
}

#[test]
fn the_documentation_has_every_key_with_its_default() {
    let text = std::fs::read_to_string(shipped("docs/configuration.md")).unwrap();
    let mut sources = Sources::isolated(Path::new("/unused"));
    sources.flags.clear();
    sources.facts.root = true;
    for (key, value, origin) in Config::load(&sources).unwrap().origins() {
        assert_eq!(origin.to_string(), "built-in", "{key}");
        let auto = matches!(key, "server.data_dir" | "node.name" | "engine.docker_host");
        let default = match value.as_str() {
            "" => "empty".to_owned(),
            _ if auto => "`auto`".to_owned(),
            value => format!("`{value}`"),
        };
        let row = format!("| `{key}` | {default} | ");
        assert!(text.contains(&row), "docs/configuration.md lacks {row}");
    }
}

#[test]
fn sinks_are_read_strictly_and_replaced_by_name() {
    let good = "[[logging.sink]]\nname = \"a\"\ntype = \"file\"\npath = \"/tmp/x\"\n";
    let fixture = Fixture::new(&[
        &format!(
            "{good}[[logging.sink]]\nname = \"b\"\ntype = \"kafka\"\nbrokers = \"k:9092\"\nsettings = {{ \"socket.keepalive.enable\" = \"true\" }}\n"
        ),
        "[logging]\nredact = [\"\\\\d{16}\"]\n[[logging.sink]]\nname = \"a\"\ntype = \"relp\"\naddress = \"h:2514\"\napps = [\"shop\"]\n",
    ]);
    let lists = fixture.load().lists;
    let kinds: Vec<_> = lists
        .sinks
        .iter()
        .map(|s| (s.name.as_str(), s.kind.as_str()))
        .collect();
    assert_eq!(kinds, [("b", "kafka"), ("a", "relp")]);
    assert_eq!(lists.redact, ["\\d{16}"]);
    for (text, wanted) in [
        (
            "[[logging.sink]]\nname = \"a\"\ntype = \"file\"\npath = \"x\"\nbrokers = \"k\"\n",
            "0.toml:5:1: logging.sink: brokers: not a key of a sink of type file",
        ),
        (
            "[[logging.sink]]\nname = \"a\"\ntype = \"kafka\"\n",
            "a sink of type kafka needs it",
        ),
        (
            "[[logging.sink]]\nname = \"a\"\ntype = \"fil\"\n",
            "expected one of syslog, relp, kafka, elasticsearch, http, file, found \"fil\"",
        ),
        (
            "[[logging.sink]]\nname = \"a/b\"\ntype = \"file\"\npath = \"x\"\n",
            "letters, digits",
        ),
        (
            "[[logging.sink]]\nname = \"a\"\ntype = \"file\"\npath = \"x\"\ncolour = 1\n",
            "unknown field `colour`",
        ),
        (
            "[[logging.sink]]\nname = \"a\"\ntype = \"file\"\npath = \"x\"\nmatch = [\"(\"]\n",
            "is no pattern",
        ),
        (
            "[[logging.sink]]\nname = \"a\"\ntype = \"file\"\npath = \"x\"\ntimeout = \"1 parsec\"\n",
            "expected a duration",
        ),
        (
            "[[logging.multiline]]\nstart_pattern = \"x\"\ncondition_pattern = \"y\"\nmode = \"sometimes\"\n",
            "expected one of continue_through",
        ),
        ("[logging]\nsink = 3\n", "write [[logging.sink]]"),
    ] {
        let errors = Fixture::new(&[text]).errors();
        assert!(
            errors.iter().any(|e| e.contains(wanted)),
            "{text}\n{errors:?}"
        );
    }
}

#[test]
fn inputs_are_read_strictly_and_replaced_by_name() {
    let good = "[[logging.input]]\nname = \"net\"\ntype = \"syslog\"\n";
    let fixture = Fixture::new(&[
        &format!("{good}[[logging.input]]\nname = \"edge\"\ntype = \"file\"\npaths = [\"/x\"]\n"),
        &format!("{good}address = \"0.0.0.0:514\"\ntransport = \"udp\"\n"),
    ]);
    let inputs = fixture.load().lists.inputs;
    let shown: Vec<_> = inputs
        .iter()
        .map(|i| (i.name.as_str(), i.address.as_deref()))
        .collect();
    assert_eq!(shown, [("edge", None), ("net", Some("0.0.0.0:514"))]);
    for (text, wanted) in [
        (
            format!("{good}paths = [\"/x\"]\n"),
            "0.toml:4:1: logging.input: paths: not a key of an input of type syslog",
        ),
        (
            format!("{good}transport = \"quic\"\n"),
            "0.toml:4:1: logging.input: transport: expected one of tcp, udp, tls, tcp+udp",
        ),
        (format!("{good}colour = 1\n"), "unknown field `colour`"),
        (
            "[logging]\ninput = 3\n".to_owned(),
            "write [[logging.input]]",
        ),
    ] {
        let errors = Fixture::new(&[&text]).errors();
        assert!(
            errors.iter().any(|e| e.contains(wanted)),
            "{text}\n{errors:?}"
        );
    }
}
