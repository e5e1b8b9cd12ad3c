//! Syslog from real senders: rsyslog over TCP with both framings, over TLS and UDP; `logger` in both forms.

use crate::support::{Lain, Running, need, port, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

fn input(name: &str, transport: &str, port: u16, more: &str) -> String {
    format!(
        "[[logging.input]]\nname = \"{name}\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{port}\"\ntransport = \"{transport}\"\n{more}\n"
    )
}

/// Waits until an input takes events.
fn ready(lain: &Lain, name: &str) {
    until(&format!("input {name} runs"), || {
        (lain.input(name)["state"] == "running").then_some(())
    });
}

fn logger(args: &[&str]) {
    need("logger", "rsyslog.sh");
    let done = Command::new("logger").args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}

#[test]
fn loggers_messages_have_vectors_fields() {
    let at = port();
    let config = input("net", "tcp+udp", at, "app = \"net\"");
    let lain = Lain::start(&config);
    ready(&lain, "net");
    let port = at.to_string();
    let to = ["-n", "127.0.0.1", "-P", &port];
    let send = |more: &[&str]| logger(&[&to[..], more].concat());
    // RFC 5424 with structured data, octet counting and not; RFC 3164; TCP and UDP.
    let sd = [
        "--rfc5424",
        "--sd-id",
        "zoo@123",
        "--sd-param",
        "tiger=\"hungry\"",
    ];
    send(
        &[
            &sd[..],
            &[
                "-T",
                "--octet-count",
                "-t",
                "keeper",
                "-i",
                "-p",
                "local3.warning",
                "five counted",
            ],
        ]
        .concat(),
    );
    send(
        &[
            &sd[..],
            &["-T", "-t", "keeper", "-p", "local3.err", "five lines"],
        ]
        .concat(),
    );
    send(&[
        "--rfc3164",
        "-T",
        "-t",
        "old",
        "-p",
        "daemon.info",
        "three tcp",
    ]);
    send(&[
        "--rfc3164",
        "-d",
        "-t",
        "old",
        "-p",
        "auth.crit",
        "three udp",
    ]);
    send(&[
        "--rfc5424",
        "-d",
        "-t",
        "keeper",
        "-p",
        "user.debug",
        "five udp",
    ]);
    let events = lain.found("source_type: syslog", 5);
    let find = |message: &str| {
        let found = events.iter().find(|event| event["message"] == message);
        found.unwrap_or_else(|| panic!("{message} is not in {events:#?}"))
    };
    let five = find("five counted");
    assert_eq!(five["appname"], "keeper");
    assert!(five["procid"].is_u64(), "{five:#}");
    assert_eq!(five["facility"], "local3");
    assert_eq!(five["severity"], "warning");
    assert_eq!(five["level"], "warn");
    assert_eq!(five["version"], 1);
    assert_eq!(five["zoo@123"]["tiger"], "hungry");
    assert_eq!(five["source_ip"], "127.0.0.1");
    assert_eq!(five["host"], five["hostname"]);
    assert_eq!(five["app"], "net");
    assert_eq!(five["input"], "net");
    assert_eq!(find("five lines")["level"], "error");
    let three = find("three udp");
    assert_eq!(three["appname"], "old");
    assert_eq!(three["severity"], "crit");
    assert!(three.get("version").is_none());
    let at: chrono::DateTime<chrono::Utc> = three["timestamp"].as_str().unwrap().parse().unwrap();
    assert!(
        (chrono::Utc::now() - at).num_seconds().abs() < 300,
        "{three:#}"
    );
    assert_eq!(find("three tcp")["facility"], "daemon");
    assert_eq!(find("five udp")["level"], "debug");
    let shown = lain.input("net");
    assert_eq!(shown["events"], 5);
    assert_eq!(shown["malformed"], 0);
    let metrics = lain.ask(|client| {
        let url = format!("{}/metrics", lain.url);
        client.get(url).bearer_auth(&lain.token)
    });
    let counted = "lain_log_input_events_total{input=\"net\",kind=\"syslog\"} 5";
    assert!(metrics.text.contains(counted), "{}", metrics.text);
    let listed = lain.cli(&["input", "list"]);
    assert!(
        listed.contains("net") && listed.contains("running"),
        "{listed}"
    );
    assert!(lain.cli(&["tree"]).contains("input/net"));
}

/// An rsyslog that forwards the lines of a file.
struct Sender {
    dir: tempfile::TempDir,
    rsyslog: Option<Running>,
}

impl Sender {
    fn new(target: &str, global: &str) -> Self {
        need("rsyslogd", "rsyslog.sh");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let mut config = String::new();
        writeln!(
            config,
            "global(workDirectory=\"{path}\" maxMessageSize=\"64k\" {global})"
        )
        .unwrap();
        config.push_str("module(load=\"imfile\" mode=\"inotify\")\n");
        writeln!(
            config,
            "input(type=\"imfile\" file=\"{path}/in.log\" tag=\"sender\" ruleset=\"out\")"
        )
        .unwrap();
        writeln!(
            config,
            "ruleset(name=\"out\") {{ action(type=\"omfwd\" template=\"RSYSLOG_SyslogProtocol23Format\" queue.type=\"linkedList\" queue.filename=\"q\" queue.saveOnShutdown=\"on\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\" {target}) }}"
        )
        .unwrap();
        std::fs::write(dir.path().join("rsyslog.conf"), config).unwrap();
        Self { dir, rsyslog: None }
    }

    fn write(&self, numbers: std::ops::Range<u32>) {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("in.log"));
        let mut text = String::new();
        for n in numbers {
            writeln!(text, "number {n} {}", "x".repeat(n as usize % 200)).unwrap();
        }
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn start(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(path("rsyslog.conf"));
        command.arg("-i").arg(path("pid"));
        self.rsyslog = Some(Running::start(&mut command, &path("rsyslog.out")));
    }
}

/// The numbers that arrived, in order of arrival.
fn numbers(events: &[Value]) -> Vec<u32> {
    let mut events: Vec<(u64, u32)> = events
        .iter()
        .map(|event| {
            let message = event["message"].as_str().unwrap();
            let number = message.trim().split(' ').nth(1).unwrap().parse().unwrap();
            (event["seq"].as_u64().unwrap(), number)
        })
        .collect();
    events.sort_unstable();
    events.into_iter().map(|(_, number)| number).collect()
}

fn arrive(lain: &Lain, name: &str, count: u32) -> Vec<u32> {
    let query = format!("input: {name} and appname: sender");
    numbers(&lain.found(&query, count as usize))
}

#[test]
fn rsyslog_over_tcp_with_either_framing_keeps_its_order() {
    for framing in ["octet-counted", "traditional"] {
        let at = port();
        let lain = Lain::start(&input("net", "tcp", at, ""));
        ready(&lain, "net");
        let target = format!(
            "target=\"127.0.0.1\" port=\"{at}\" protocol=\"tcp\" TCP_Framing=\"{framing}\""
        );
        let mut sender = Sender::new(&target, "");
        sender.write(0..400);
        sender.start();
        let wanted: Vec<u32> = (0..400).collect();
        assert_eq!(arrive(&lain, "net", 400), wanted, "{framing}");
        assert_eq!(lain.input("net")["malformed"], 0);
    }
}

#[test]
fn rsyslog_goes_on_where_it_was_when_lain_comes_back() {
    let at = port();
    let mut lain = Lain::start(&input("net", "tcp", at, ""));
    ready(&lain, "net");
    let target = format!("target=\"127.0.0.1\" port=\"{at}\" protocol=\"tcp\"");
    let mut sender = Sender::new(&target, "");
    sender.write(0..100);
    sender.start();
    assert_eq!(arrive(&lain, "net", 100).len(), 100);
    // While lain is away rsyslog keeps what comes. The one message that finds the connection dead is lost: plain
    // TCP has no acknowledgement.
    lain.kill();
    sender.write(100..300);
    lain.again();
    ready(&lain, "net");
    sender.write(300..400);
    let query = "input: net and appname: sender";
    let events = until("the last line", || {
        let events = lain.events(query);
        let last = events
            .iter()
            .any(|e| e["message"].as_str().unwrap().starts_with("number 399 "));
        last.then_some(events)
    });
    // Of a batch in doubt rsyslog sends what it cannot know to have arrived once more.
    let found: BTreeSet<u32> = numbers(&events).into_iter().collect();
    assert!(found.len() >= 390, "{} of 400 arrived", found.len());
    let seqs: BTreeSet<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs.len(), events.len(), "numbers go on after the restart");
}

#[test]
fn rsyslog_over_tls_and_udp() {
    let certificates = tempfile::tempdir().unwrap();
    let key = |name: &str| certificates.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(key("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(key("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (tls, udp) = (port(), port());
    let files = format!(
        "cert_file = \"{}\"\nkey_file = \"{}\"",
        key("cert.pem"),
        key("key.pem")
    );
    let config = input("secure", "tls", tls, &files) + &input("loose", "udp", udp, "");
    let lain = Lain::start(&config);
    ready(&lain, "secure");
    ready(&lain, "loose");
    let target = format!(
        "target=\"127.0.0.1\" port=\"{tls}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\" StreamDriver=\"ossl\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"anon\""
    );
    let global = format!(
        "defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{}\"",
        key("cert.pem")
    );
    let mut secure = Sender::new(&target, &global);
    secure.write(0..100);
    secure.start();
    assert_eq!(arrive(&lain, "secure", 100), (0..100).collect::<Vec<_>>());
    let target = format!("target=\"127.0.0.1\" port=\"{udp}\" protocol=\"udp\"");
    let mut loose = Sender::new(&target, "");
    loose.write(0..50);
    loose.start();
    assert_eq!(arrive(&lain, "loose", 50).len(), 50);
}

#[test]
fn what_is_too_long_no_syslog_or_too_much_is_bounded_and_counted() {
    let at = port();
    let more = "max_message = \"1KiB\"\nconnections = 2";
    let lain = Lain::start(&input("net", "tcp", at, more));
    ready(&lain, "net");
    let mut first = TcpStream::connect(("127.0.0.1", at)).unwrap();
    let long = format!("<13>1 - h a - - - {}", "y".repeat(5000));
    let counted = format!("{} {long}", long.len());
    let words = [
        &long,
        "\n",
        &counted,
        "no syslog at all\n<14>1 - h a - - - fine\n",
    ];
    first.write_all(words.concat().as_bytes()).unwrap();
    let events = lain.found("input: net", 4);
    let cut: Vec<&Value> = events.iter().filter(|e| e["truncated"] == true).collect();
    assert_eq!(cut.len(), 2, "{events:#?}");
    for event in cut {
        let message = event["message"].as_str().unwrap();
        assert!(message.len() < 1024 && message.starts_with("yyy"));
    }
    assert!(events.iter().any(|e| e["message"] == "no syslog at all"));
    assert!(events.iter().any(|e| e["message"] == "fine"));
    let second = TcpStream::connect(("127.0.0.1", at)).unwrap();
    until("two connections", || {
        (lain.input("net")["connections"] == 2).then_some(())
    });
    // A third one is closed at once, and counted.
    let mut third = TcpStream::connect(("127.0.0.1", at)).unwrap();
    let closed = std::io::Read::read(&mut third, &mut [0; 8]);
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop((first, second));
    until("no connections", || {
        (lain.input("net")["connections"] == 0).then_some(())
    });
    let shown = lain.input("net");
    assert_eq!(shown["refused"], 1);
    assert_eq!(shown["truncated"], 2);
    assert_eq!(shown["malformed"], 1);
    // Nothing of lain's own can be set by a sender.
    let mut last = TcpStream::connect(("127.0.0.1", at)).unwrap();
    last.write_all(b"<14>1 - h a - - [app x=\"1\"][node x=\"1\"] spoof\n")
        .unwrap();
    let spoof = &lain.found("message: spoof", 1)[0];
    assert!(spoof.get("app").is_none(), "{spoof:#}");
    assert_eq!(spoof["node"], "here");
    assert_eq!(spoof["structured_data"]["app"]["x"], "1");
}

#[test]
fn a_port_that_is_taken_is_told_and_tried_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().port();
    let lain = Lain::start(&input("net", "tcp", at, ""));
    let failed = until("the input fails", || {
        let shown = lain.input("net");
        (shown["state"] == "failed").then_some(shown)
    });
    let error = failed["last_error"].as_str().unwrap();
    assert!(error.contains(&format!("127.0.0.1:{at}")), "{error}");
    drop(taken);
    ready(&lain, "net");
    assert!(Path::new(&lain.path("data")).exists());
}
