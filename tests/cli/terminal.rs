//! On a terminal: questions, live progress, the live tree, a remote shell.

use crate::fixtures::{accepted, hello, operation, step, tree};
use crate::support::{Answer, Fake, Lain, Program, Then, Watchdog, event, json, lain};
use lain::domain::view::OperationState::{Running, Succeeded};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A command on a terminal of 100 columns and 30 rows.
struct Terminal {
    child: Child,
    master: File,
    screen: Arc<Mutex<String>>,
    _watchdog: Watchdog,
    _lain: Lain,
}

impl Terminal {
    fn start(mut lain: Lain) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize {
            ws_col: 100,
            ws_row: 30,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let slave = File::from(slave);
        lain.command
            .env("TERM", "xterm")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        let child = lain.command.spawn().unwrap();
        // The command keeps ends of the terminal that would keep it open.
        lain.command.stdin(std::process::Stdio::null());
        lain.command.stdout(std::process::Stdio::null());
        lain.command.stderr(std::process::Stdio::null());
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut reader, seen) = (master.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                seen.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        let watchdog = Watchdog::new(rustix::process::Pid::from_child(&child));
        Self {
            child,
            master,
            screen,
            _watchdog: watchdog,
            _lain: lain,
        }
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this has been written to the terminal.
    fn sees(&self, text: &str) {
        let begun = Instant::now();
        while !self.screen.lock().unwrap().contains(text) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{text:?} in {:?}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Forgets what has been written.
    fn clear(&self) {
        self.screen.lock().unwrap().clear();
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    fn code(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn op_path() -> String {
    format!("operations/{}", operation(Running, Vec::new()).id)
}

fn removable() -> Fake {
    let done = operation(Succeeded, vec![step(1, Succeeded, "removed")]);
    Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on("DELETE", "apps/hello", json(202, accepted(done.clone())))
        .on(
            "GET",
            &op_path(),
            Answer::Stream(vec![event(None, None, done)], Then::End),
        )
}

#[test]
fn undeploy_asks_for_the_name() {
    let fake = removable();
    let mut terminal = Terminal::start(lain(&fake, &["undeploy", "-a", "hello"]));
    terminal.sees("Type hello to go on:");
    assert!(terminal.text().contains("plan for app hello"));
    terminal.type_in("hallo\n");
    assert_eq!(terminal.code(), 2);
    assert!(
        fake.seen()
            .iter()
            .all(|seen| seen.method != "DELETE" || seen.query == "dry_run=true")
    );
    let mut terminal = Terminal::start(lain(&fake, &["undeploy", "-a", "hello"]));
    terminal.sees("Type hello to go on:");
    terminal.type_in("hello\n");
    assert_eq!(terminal.code(), 0, "{}", terminal.text());
    assert_eq!(fake.last("DELETE").query, "");
}

#[test]
fn progress_is_redrawn_in_place() {
    let states = [
        operation(Running, vec![step(1, Running, "pulling image")]),
        operation(Succeeded, vec![step(1, Succeeded, "healthy")]),
    ];
    let events = states
        .iter()
        .map(|state| event(None, None, state))
        .collect();
    let fake = Fake::start()
        .on(
            "POST",
            "apps/hello/restart",
            json(202, accepted(states[0].clone())),
        )
        .on("GET", &op_path(), Answer::Stream(events, Then::End));
    let mut terminal = Terminal::start(lain(&fake, &["restart", "-a", "hello"]));
    assert_eq!(terminal.code(), 0, "{}", terminal.text());
    terminal.sees("app hello is restarted");
    let text = terminal.text();
    assert!(text.contains("pulling image"), "{text:?}");
    // One line up, and everything below is drawn anew.
    assert!(text.contains("\x1b[1A\x1b[J"), "{text:?}");
    assert!(text.contains("\x1b[32m✔\x1b[0m"), "{text:?}");
}

#[test]
fn ctrl_c_leaves_the_operation_alone() {
    let running = operation(Running, vec![step(1, Running, "pulling image")]);
    let fake = Fake::start()
        .on(
            "POST",
            "apps/hello/restart",
            json(202, accepted(running.clone())),
        )
        .on(
            "GET",
            &op_path(),
            Answer::Stream(vec![event(None, None, running)], Then::Stay),
        );
    let mut terminal = Terminal::start(lain(&fake, &["restart", "-a", "hello"]));
    terminal.sees("pulling image");
    let id = rustix::process::Pid::from_child(&terminal.child);
    // Without a controlling terminal the key sends no signal, so it is sent here.
    while terminal.child.try_wait().unwrap().is_none() {
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(terminal.code(), 130);
    terminal.sees("it goes on");
    assert!(terminal.text().contains("lain event watch"));
}

#[test]
fn the_live_tree_moves_acts_and_quits() {
    let mut actor = tree()["children"][0].clone();
    actor["children"] = serde_json::json!([]);
    let fake = Fake::start()
        .on("GET", "supervision", json(200, tree()))
        .on("GET", "supervision/actor", json(200, &actor))
        .on("POST", "supervision/restart", json(200, &actor))
        .on(
            "GET",
            "supervision/events",
            Answer::Stream(Vec::new(), Then::Stay),
        );
    let mut terminal = Terminal::start(lain(&fake, &["tree", "--watch"]));
    terminal.sees("ACTOR");
    terminal.sees("store");
    // Down, Enter: the report of `apps`.
    terminal.type_in("\x1b[B\r");
    terminal.sees("incarnation 1");
    terminal.type_in("x");
    terminal.clear();
    terminal.type_in("r");
    terminal.sees("restart apps? [y/N]");
    terminal.type_in("y");
    terminal.sees("asked for");
    assert_eq!(
        fake.last("POST").line(),
        "POST /api/v1/supervision/restart?path=apps"
    );
    terminal.type_in("q");
    assert_eq!(terminal.code(), 0);
    // The screen that was there before is back.
    terminal.sees("\x1b[?1049l");
}

#[test]
fn enter_gets_the_terminal_and_its_size() {
    let fake = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on(
            "GET",
            "apps/hello/procs/web/instances/1/exec",
            Answer::Socket(Program::Sizes),
        );
    let mut terminal = Terminal::start(lain(&fake, &["enter", "-a", "hello"]));
    terminal.sees("entering hello.web.web.i1");
    let begun = Instant::now();
    let line_editing = rustix::termios::LocalModes::ICANON;
    while tcgetattr(&terminal.master)
        .unwrap()
        .local_modes
        .contains(line_editing)
    {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    let query = fake.last("GET").query;
    assert!(query.contains("tty=true&columns=100&rows=30"), "{query}");
    assert!(query.contains("command=%2Fbin%2Fsh"), "{query}");
    let id = rustix::process::Pid::from_child(&terminal.child);
    let size = Winsize {
        ws_col: 120,
        ws_row: 40,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal.master, size).unwrap();
    let begun = Instant::now();
    while !terminal.text().contains(r#""columns":120"#) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            terminal.text()
        );
        rustix::process::kill_process(id, rustix::process::Signal::WINCH).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    terminal.type_in("q");
    assert_eq!(terminal.code(), 0);
    assert!(
        tcgetattr(&terminal.master)
            .unwrap()
            .local_modes
            .contains(line_editing)
    );
}
