//! The API by TLS: the real daemon and the real command line, from a machine that knows nothing of it but a
//! fingerprint.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long the daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `lain dev` with processes for containers, ended when dropped.
struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
    url: String,
}

fn lain(home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lain"));
    surround(&mut command, home);
    command
}

/// Keeps a command to its own home.
fn surround<'a>(command: &'a mut Command, home: &std::path::Path) -> &'a mut Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .current_dir(home)
        .stdin(Stdio::null())
}

impl Daemon {
    fn start(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        // Root's endpoint file is in /run/lain, where the command line of another machine would not see it.
        let mut command = Command::new("unshare");
        command.args([
            "-m",
            "sh",
            "-ec",
            "mount -t tmpfs tmpfs /run; exec \"$@\"",
            "sh",
        ]);
        let child = surround(&mut command, dir.path())
            .arg(env!("CARGO_BIN_EXE_lain"))
            .args(["dev", "--engine", "process", "--listen", "127.0.0.1:0"])
            .args(["--data-dir", "data", "--ready-file", "ready"])
            .env("LAIN_SERVER__TLS", "on")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            dir,
            url: String::new(),
        };
        let begun = Instant::now();
        while daemon.url.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "no start:\n{}", daemon.log());
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended:\n{}", daemon.log());
            let text = std::fs::read_to_string(&ready).unwrap_or_default();
            if text.ends_with('\n') {
                daemon.url = text.trim().to_owned();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    /// As the banner prints it.
    fn fingerprint(&self) -> String {
        let log = self.log();
        let at = log.find("--ca sha256:").expect("the banner names it") + 5;
        log[at..].split_whitespace().next().unwrap().to_owned()
    }

    /// A command on another machine, which has the token and nothing else.
    fn elsewhere(&self, home: &std::path::Path, args: &[&str]) -> Output {
        std::fs::copy(self.data("admin.token"), home.join("token")).unwrap();
        lain(home).args(args).output().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn another_machine_trusts_it_by_the_fingerprint_and_nothing_else() {
    let daemon = Daemon::start(&[]);
    assert!(daemon.url.starts_with("https://"), "{}", daemon.url);
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let url = daemon.url.as_str();

    let unknown = daemon.elsewhere(home, &["login", url, "--token-file", "token"]);
    assert_ne!(unknown.status.code(), Some(0), "{}", said(&unknown));
    let wrong = format!("sha256:{}", "0".repeat(64));
    let wrong = daemon.elsewhere(
        home,
        &["login", url, "--ca", &wrong, "--token-file", "token"],
    );
    assert_ne!(wrong.status.code(), Some(0));
    assert!(said(&wrong).contains("fingerprint"), "{}", said(&wrong));
    assert!(!home.join(".config/lain/config.toml").exists());

    let right = daemon.fingerprint();
    let login = [
        "login",
        url,
        "--ca",
        &right,
        "--token-file",
        "token",
        "--as",
        "far",
    ];
    let login = daemon.elsewhere(home, &login);
    assert_eq!(login.status.code(), Some(0), "{}", said(&login));
    let ps = daemon.elsewhere(home, &["ps", "--all"]);
    assert_eq!(ps.status.code(), Some(0), "{}", said(&ps));

    let plain = url.replace("https:", "http:");
    let plain = daemon.elsewhere(
        home,
        &["ps", "--all", "--server", &plain, "--token-file", "token"],
    );
    assert_ne!(plain.status.code(), Some(0), "{}", said(&plain));
}

#[test]
fn on_the_same_machine_nothing_has_to_be_said_and_a_shell_goes_through() {
    let daemon = Daemon::start(&[]);
    let home = daemon.dir.path();
    let yaml = "appname: shell\nworker:\n  image: none:1\n  cmd: sleep 600\n";
    std::fs::write(home.join("lain.yaml"), yaml).unwrap();
    let deploy = lain(home).arg("deploy").output().unwrap();
    assert_eq!(deploy.status.code(), Some(0), "{}", said(&deploy));
    let enter = ["enter", "worker", "-a", "shell", "--", "echo", "through"];
    let enter = lain(home).args(enter).output().unwrap();
    assert_eq!(enter.status.code(), Some(0), "{}", said(&enter));
    assert!(said(&enter).contains("through"));
    let undeploy = lain(home)
        .args(["undeploy", "-a", "shell", "--yes"])
        .output()
        .unwrap();
    assert_eq!(undeploy.status.code(), Some(0), "{}", said(&undeploy));
}

#[test]
fn a_certificate_of_the_operators_own_is_shown_to_those_who_ask_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let daemon = Daemon::start(&[
        ("LAIN_SERVER__CERT_FILE", cert.to_str().unwrap()),
        ("LAIN_SERVER__KEY_FILE", key.to_str().unwrap()),
    ]);
    let url = daemon.url.replace("127.0.0.1", "localhost");
    let health = format!("{url}/healthz");
    let curl = |ca: &std::path::Path, url: &str| {
        let output = Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--cacert"])
            .arg(ca)
            .arg(url)
            .output();
        output.expect("curl is there (scripts/test.sh installs it)")
    };
    let own = curl(&cert, &health);
    assert!(own.status.success(), "{}", said(&own));
    let installation = curl(&daemon.data("authority.pem"), &health);
    assert!(!installation.status.success());
    // The command line asks for the control host by its own name, which the installation's authority signed.
    let ps = lain(daemon.dir.path())
        .args(["ps", "--all"])
        .output()
        .unwrap();
    assert_eq!(ps.status.code(), Some(0), "{}", said(&ps));
}
