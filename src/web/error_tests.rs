//! The kinds are distinct, documented, and every error of the control host has one.

use super::*;
use crate::ports::store::StoreError;

#[test]
fn words_are_distinct_and_statuses_are_errors() {
    for (at, kind) in Kind::ALL.iter().enumerate() {
        assert!(kind.status().as_u16() >= 400, "{kind:?}");
        let twin = Kind::ALL[..at].iter().find(|k| k.word() == kind.word());
        assert_eq!(twin, None, "{kind:?}");
    }
}

#[test]
fn every_kind_is_documented_with_its_status() {
    let page = include_str!("../../docs/api.md");
    for kind in Kind::ALL {
        let row = format!("| `{}` | {} |", kind.word(), kind.status().as_u16());
        assert!(page.contains(&row), "docs/api.md lacks the row {row}");
    }
}

#[test]
fn errors_of_the_control_host_have_their_status() {
    let store = StoreError::DiskFull {
        path: "/data".to_owned(),
    };
    let unreachable = RuntimeError::Unreachable {
        engine: "docker".to_owned(),
        reason: "no socket".to_owned(),
        remedy: "start it".to_owned(),
    };
    let invalid = ControlError::Invalid {
        file: "lain.yaml".to_owned(),
        problems: vec![control::Problem {
            line: Some(3),
            column: Some(5),
            key: "proc.web.cmdd".to_owned(),
            code: "unknown_key".to_owned(),
            detail: "unknown key cmdd; did you mean cmd?".to_owned(),
        }],
    };
    let rows = [
        (
            ControlError::NotFound {
                kind: "app",
                name: "helo".to_owned(),
                hint: " (did you mean hello?)".to_owned(),
            },
            404,
        ),
        (invalid, 422),
        (ControlError::Conflict("being removed".to_owned()), 409),
        (
            ControlError::Stale {
                app: "hello".to_owned(),
                given: 1,
                current: 2,
            },
            412,
        ),
        (ControlError::PreconditionRequired("hello".to_owned()), 428),
        (ControlError::Store(store), 503),
        (ControlError::Runtime(unreachable), 503),
        (
            ControlError::Runtime(RuntimeError::NameTaken("x".to_owned())),
            409,
        ),
        (ControlError::Unavailable("starting".to_owned()), 503),
        (ControlError::Internal("impossible".to_owned()), 500),
    ];
    for (error, status) in rows {
        let text = error.to_string();
        let problem = Problem::from(error);
        assert_eq!(problem.kind.status().as_u16(), status, "{text}");
        assert_eq!(problem.detail, text);
        assert_eq!(problem.retry_after.is_some(), status == 503, "{text}");
        assert_eq!(problem.errors.len(), usize::from(status == 422), "{text}");
    }
}
