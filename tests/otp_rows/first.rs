use super::support::*;
use lain::actors::supervise::*;
use std::time::Duration;

#[test]
fn smoke() {
    run(async {
        let stage = Stage::default();
        let watcher = Watcher::default();
        let root = SupervisorSpec::new(
            Flags::new(Strategy::OneForOne).intensity(3, Duration::from_secs(5)),
        )
        .child(stage.worker("a"))
        .child(stage.worker("b"));
        let tree = Tree::builder()
            .observer(watcher.clone())
            .start(root)
            .await
            .expect("starts");
        let a = pid(&tree, "a");
        let b = pid(&tree, "b");
        crash(&tree, "a").await;
        assert_ne!(pid(&tree, "a"), a);
        assert_eq!(pid(&tree, "b"), b);
        tree.kill("b");
        settle().await;
        assert_ne!(pid(&tree, "b"), b);
        let counts = tree.root().count_children().await.expect("counts");
        assert_eq!(
            counts,
            Counts {
                specs: 2,
                active: 2,
                supervisors: 0,
                workers: 2
            }
        );
        tree.root().terminate_child("a").await.expect("stops");
        assert_eq!(tree.stop().await, ExitReason::Shutdown);
        for event in watcher.events() {
            println!("{}", serde_json::to_string(&event).expect("json"));
        }
        for report in watcher.reports() {
            println!("{}", report.format(Limits::default()));
        }
        println!("{:?}", stage.take_ends());
    });
}
