//! What agent and control host say to each other, written and read.

use super::*;

#[test]
fn ends_that_share_a_protocol_speak_the_newest_of_them() {
    assert_eq!(negotiate((1, 1), "0.1.0"), Ok(1));
    assert_eq!(negotiate((1, 7), "0.2.0"), Ok(1));
    let newer = negotiate((2, 7), "0.9.0").expect_err("too new");
    assert!(
        newer.contains("bring the control host up to date"),
        "{newer}"
    );
}

#[test]
fn a_message_that_is_not_known_is_no_error() {
    let unknown: ToAgent = serde_json::from_str(r#"{"is":"dance","how":"well"}"#).expect("read");
    assert!(matches!(unknown, ToAgent::Unknown));
    let unknown: ToControl = serde_json::from_str(r#"{"is":"dance"}"#).expect("read");
    assert!(matches!(unknown, ToControl::Unknown));
}

#[test]
fn every_message_can_be_written() {
    // Tagged messages must be maps: serde refuses others only when they are written.
    let event = EventView {
        seq: 1,
        at: chrono::DateTime::UNIX_EPOCH,
        kind: "x".to_owned(),
        level: "info".to_owned(),
        app: None,
        proc: None,
        instance: None,
        node: None,
        path: None,
        operation: None,
        crash: None,
        message: String::new(),
    };
    let events = vec![event];
    let routing = Routing("hunter2".to_owned());
    assert!(!format!("{routing:?}").contains("hunter2"));
    for message in [
        ToControl::Events { events },
        ToControl::Sinks {
            sinks: vec![SinkView::default()],
        },
        ToControl::Reply {
            id: 2,
            reply: Reply::Sink(Box::default()),
        },
        ToControl::Goodbye,
        ToControl::Keep {
            first: 1,
            records: vec![Kept::Restarted(
                "a.web.web.i1".parse().expect("an instance"),
            )],
        },
        ToControl::Reply {
            id: 1,
            reply: Reply::Output(OutputStream::Stdout, String::new()),
        },
    ] {
        let json = serde_json::to_string(&message).expect("written");
        serde_json::from_str::<ToControl>(&json).expect("read");
    }
    for message in [
        ToAgent::KeptUpTo(Number { n: 1 }),
        ToAgent::Logging { routing },
        ToAgent::Ask {
            id: 2,
            request: Request::Sink {
                sink: "central".to_owned(),
                action: SinkAction::Rewind(None),
            },
        },
        ToAgent::Input {
            id: 1,
            input: Input::Resize(80, 25),
        },
        ToAgent::Ask {
            id: 1,
            request: Request::Actor {
                path: "x".to_owned(),
            },
        },
    ] {
        let json = serde_json::to_string(&message).expect("written");
        serde_json::from_str::<ToAgent>(&json).expect("read");
    }
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let beat: ToControl =
        serde_json::from_str(r#"{"is":"beat","seq":3,"mood":"good"}"#).expect("read");
    assert!(matches!(beat, ToControl::Beat { seq: 3 }));
}

#[test]
fn commands_are_shown_without_their_environment() {
    let command = Command {
        words: vec!["env".to_owned()],
        env: vec![("PASSWORD".to_owned(), "hunter2".to_owned())],
        stdin: false,
        tty: None,
    };
    assert!(!format!("{command:?}").contains("hunter2"));
}
