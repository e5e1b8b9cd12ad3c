//! Where the server and the token come from, in order.

use super::*;

#[derive(Default)]
struct Fake {
    variables: Vec<(&'static str, &'static str)>,
    files: Vec<(&'static str, &'static str)>,
    root: bool,
}

impl Surroundings for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        let found = self.files.iter().find(|(name, _)| Path::new(name) == path);
        match found {
            Some((_, "denied")) => Err(std::io::ErrorKind::PermissionDenied.into()),
            Some((_, text)) => Ok(Some((*text).to_owned())),
            None => Ok(None),
        }
    }

    fn is_root(&self) -> bool {
        self.root
    }

    fn is_running(&self, pid: i32) -> bool {
        pid == 1
    }
}

const CONFIG: (&str, &str) = (
    "/home/u/.config/lain/config.toml",
    "current_context = \"prod\"\nlisten = \"x\"\n\
     [contexts.prod]\nserver = \"http://prod:7419/\"\ntoken_file = \"/prod.token\"\n\
     [contexts.lab]\nserver = \"http://lab:7419\"\n",
);
const ENDPOINT: (&str, &str) = (
    "/run/user/1/lain/endpoint.json",
    r#"{"url": "http://127.0.0.1:9000", "token_file": "/data/token"}"#,
);

fn fake(
    files: &[(&'static str, &'static str)],
    variables: &[(&'static str, &'static str)],
) -> Fake {
    let mut around = Fake::default();
    around.variables.push(("HOME", "/home/u"));
    around.variables.extend_from_slice(variables);
    around.files.extend_from_slice(files);
    around.files.push(("/prod.token", "prod-secret\n"));
    around.files.push(("/data/token", "dev-secret\n"));
    around
}

fn found(wanted: Wanted, around: &Fake) -> (String, Option<String>) {
    let connection = resolve(&wanted, around).unwrap();
    let token = connection.token.map(|token| token.expose().to_owned());
    (connection.server, token)
}

#[test]
fn servers_are_found_in_order() {
    let server = |name: &str| Wanted {
        server: Some(name.to_owned()),
        ..Wanted::default()
    };
    let context = |name: &str| Wanted {
        context: Some(name.to_owned()),
        ..Wanted::default()
    };
    let runtime = ("XDG_RUNTIME_DIR", "/run/user/1");
    let env = ("LAIN_SERVER", "http://env:1");
    let everything = fake(&[CONFIG, ENDPOINT], &[runtime, env]);
    let url = |wanted, around: &Fake| found(wanted, around).0;
    assert_eq!(url(server("http://flag:1"), &everything), "http://flag:1");
    assert_eq!(url(context("lab"), &everything), "http://lab:7419");
    assert_eq!(url(Wanted::default(), &everything), "http://env:1");
    let files = fake(&[CONFIG, ENDPOINT], &[runtime]);
    assert_eq!(url(Wanted::default(), &files), "http://prod:7419");
    let named = fake(&[CONFIG, ENDPOINT], &[runtime, ("LAIN_CONTEXT", "lab")]);
    assert_eq!(url(Wanted::default(), &named), "http://lab:7419");
    let local = fake(&[ENDPOINT], &[runtime]);
    assert_eq!(url(Wanted::default(), &local), "http://127.0.0.1:9000");
    assert_eq!(url(Wanted::default(), &fake(&[], &[])), DEFAULT_SERVER);
}

#[test]
fn roots_endpoint_is_looked_for_only_by_root() {
    let file = (
        "/run/lain/endpoint.json",
        r#"{"url": "http://127.0.0.1:1"}"#,
    );
    let mut around = fake(&[file], &[]);
    assert_eq!(found(Wanted::default(), &around).0, DEFAULT_SERVER);
    around.root = true;
    assert_eq!(found(Wanted::default(), &around).0, "http://127.0.0.1:1");
}

#[test]
fn the_file_of_a_killed_lain_gives_way_to_one_that_runs() {
    let dead = (
        "/run/user/1/lain/endpoint.json",
        r#"{"url": "http://127.0.0.1:1", "pid": 2, "token_file": "/gone"}"#,
    );
    let alive = (
        "/run/lain/endpoint.json",
        r#"{"url": "http://127.0.0.1:2", "pid": 1}"#,
    );
    let runtime = ("XDG_RUNTIME_DIR", "/run/user/1");
    let mut around = fake(&[dead, alive], &[runtime]);
    around.root = true;
    assert_eq!(found(Wanted::default(), &around).0, "http://127.0.0.1:2");
    // With nothing better it is named, and its lost token is not the complaint.
    let around = fake(&[dead], &[runtime]);
    assert_eq!(
        found(Wanted::default(), &around),
        ("http://127.0.0.1:1".to_owned(), None)
    );
}

#[test]
fn tokens_are_found_in_order() {
    let runtime = ("XDG_RUNTIME_DIR", "/run/user/1");
    let around = fake(&[CONFIG, ("/flag.token", " flag-secret ")], &[]);
    let flag = Wanted {
        token_file: Some("/flag.token".into()),
        ..Wanted::default()
    };
    assert_eq!(found(flag, &around).1.as_deref(), Some("flag-secret"));
    assert_eq!(
        found(Wanted::default(), &around).1.as_deref(),
        Some("prod-secret")
    );
    let env = fake(&[CONFIG], &[("LAIN_TOKEN", "env-secret")]);
    assert_eq!(
        found(Wanted::default(), &env).1.as_deref(),
        Some("env-secret")
    );
    let file = fake(
        &[CONFIG, ("/env.token", "file-secret")],
        &[
            ("LAIN_TOKEN", "env-secret"),
            ("LAIN_TOKEN_FILE", "/env.token"),
        ],
    );
    assert_eq!(
        found(Wanted::default(), &file).1.as_deref(),
        Some("file-secret")
    );
    let local = fake(&[ENDPOINT], &[runtime]);
    assert_eq!(
        found(Wanted::default(), &local).1.as_deref(),
        Some("dev-secret")
    );
    // The same server by name has the same token; another one has none.
    let by_name = |url: &str| Wanted {
        server: Some(url.to_owned()),
        ..Wanted::default()
    };
    assert_eq!(
        found(by_name("http://127.0.0.1:9000/"), &local)
            .1
            .as_deref(),
        Some("dev-secret")
    );
    assert_eq!(found(by_name("http://127.0.0.1:9001"), &local).1, None);
}

#[test]
fn what_cannot_be_used_is_said() {
    let around = fake(&[CONFIG, ("/denied", "denied"), ("/empty", " \n")], &[]);
    let error = |wanted: Wanted| resolve(&wanted, &around).unwrap_err();
    let context = error(Wanted {
        context: Some("prof".to_owned()),
        ..Wanted::default()
    });
    assert_eq!(context.exit, Exit::Usage);
    assert_eq!(context.hint.as_deref(), Some("known contexts: lab, prod"));
    for (url, says) in [
        ("ftp://x", "https://"),
        ("127.0.0.1:7419", "not a server's address"),
        ("http://u:p@x", "credentials"),
    ] {
        let error = error(Wanted {
            server: Some(url.to_owned()),
            ..Wanted::default()
        });
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains(says), "{}", error.message);
    }
    for (path, says) in [
        ("/none", "no such file"),
        ("/denied", "permission denied"),
        ("/empty", "no token"),
    ] {
        let error = error(Wanted {
            token_file: Some(path.into()),
            ..Wanted::default()
        });
        assert_eq!(error.exit, Exit::NotAuthenticated);
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[test]
fn a_broken_configuration_is_reported_with_its_place() {
    let around = fake(
        &[("/home/u/.config/lain/config.toml", "current_context = 3\n")],
        &[],
    );
    let error = resolve(&Wanted::default(), &around).unwrap_err();
    assert_eq!(error.exit, Exit::Invalid);
    assert!(error.message.contains("line 1"), "{}", error.message);
}

#[test]
fn tokens_do_not_show() {
    let around = fake(&[ENDPOINT], &[("XDG_RUNTIME_DIR", "/run/user/1")]);
    let connection = resolve(&Wanted::default(), &around).unwrap();
    assert!(!format!("{connection:?}").contains("dev-secret"));
}
