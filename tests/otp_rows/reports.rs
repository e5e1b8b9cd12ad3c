//! Rows 88 and 89: what reports look like.

use lain::actors::supervise::*;

use super::support::*;

async fn crashed(reason: ExitReason) -> Report {
    let rig = Rig::start(flags(Strategy::OneForOne, 1), |stage| {
        vec![stage.worker("a")]
    })
    .await;
    rig.end("a", reason).await;
    rig.watcher
        .reports()
        .pop()
        .expect("the end of a was reported")
}

#[test]
fn row_088_report_over_several_lines() {
    run(async {
        let report = crashed(boom()).await;
        let Who::Pid(pid) = report.offender.who else {
            panic!("a process")
        };
        let expected = format!(
            "    supervisor: s\n    \
             errorContext: child_terminated\n    \
             reason: error: boom\n    \
             offender: pid: {pid}\n              \
             id: a\n              \
             start: otp_rows::support::Actor\n              \
             restart: Permanent\n              \
             significant: false\n              \
             shutdown: Timeout(5s)\n              \
             type: Worker"
        );
        assert_eq!(report.format(Limits::default()), expected);

        let big = crashed(ExitReason::Error("x".repeat(10_000))).await;
        let cut = big.format(Limits {
            field: 20,
            depth: 1,
        });
        assert!(cut.contains("reason: error: xxxxxxxxxxxxx...\n"), "{cut}");

        let mut deep = boom();
        for level in 0..10 {
            deep = ExitReason::FailedToStartChild {
                id: format!("c{level}").into(),
                reason: Box::new(deep),
            };
        }
        let deep = crashed(deep).await.format(Limits {
            field: 1000,
            depth: 2,
        });
        assert!(deep.contains("child c9: shutdown: failed to start child c8: shutdown: failed to start child c7: ...\n"), "{deep}");
    });
}

#[test]
fn row_089_report_in_one_line() {
    run(async {
        let report = crashed(ExitReason::error("two\nlines")).await;
        let Who::Pid(pid) = report.offender.who else {
            panic!("a process")
        };
        let line = report.one_line(Limits::default());
        assert_eq!(
            line,
            format!(
                "supervisor: s, errorContext: child_terminated, reason: error: two lines, offender: a pid: {pid}"
            )
        );
        let short = report.one_line(Limits {
            field: 10,
            depth: 1,
        });
        assert!(short.contains("reason: error: two..., offender"), "{short}");

        let rig = Rig::start(flags(Strategy::SimpleOneForOne, 1), |stage| {
            vec![stage.deaf_template()]
        })
        .await;
        for number in 0..3u32 {
            rig.s.start_instance(number).await.expect("started");
        }
        rig.shut_down().await;
        let grouped = rig
            .watcher
            .reports()
            .pop()
            .expect("the late ones are reported together");
        assert_eq!(
            (grouped.context, grouped.offender.who),
            (ReportContext::ShutdownError, Who::Count(3))
        );
        let line = grouped.one_line(Limits::default());
        assert!(
            line.ends_with("offender: template nb_children: 3"),
            "{line}"
        );
        let ids: Vec<String> = rig
            .watcher
            .progress()
            .into_iter()
            .map(|progress| progress.started.id.to_string())
            .collect();
        assert_eq!(ids, ["s"], "progress is told of all but instances");
    });
}
