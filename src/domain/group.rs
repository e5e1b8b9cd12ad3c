//! Supervision among an app's procs: whose crash restarts whom.
//!
//! OTP's strategies over procs instead of processes: the crashed instance restarts where it is; the
//! strategy says which *other* procs' instances restart with it, and in which order.

use crate::domain::spec::model::ProcStrategy;

/// What a group restart does: stop these procs in this order, then start them in that order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupRestart {
    /// Indices of procs to stop, last of the file first.
    pub stop: Vec<usize>,
    /// Indices of procs to start, first of the file first. The crashed proc starts by itself; those after
    /// it wait until it is ready.
    pub start: Vec<usize>,
}

/// The other procs that restart with a crash of proc number `crashed` of `count`, as indices in file order.
///
/// `restartable` tells which procs take part: cron and oneshot procs do not run for ever and are left alone.
pub fn group_restart(
    strategy: ProcStrategy,
    count: usize,
    crashed: usize,
    restartable: impl Fn(usize) -> bool,
) -> GroupRestart {
    let from = match strategy {
        ProcStrategy::OneForOne => return GroupRestart::default(),
        ProcStrategy::OneForAll => 0,
        ProcStrategy::RestForOne => crashed + 1,
    };
    let start: Vec<usize> = (from..count)
        .filter(|&i| i != crashed && restartable(i))
        .collect();
    GroupRestart {
        stop: start.iter().rev().copied().collect(),
        start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_pick_the_procs_that_otp_would() {
        use ProcStrategy::*;
        let table: &[(ProcStrategy, usize, &[usize])] = &[
            (OneForOne, 1, &[]),
            (OneForAll, 1, &[0, 2]),
            (OneForAll, 0, &[1, 2]),
            (RestForOne, 0, &[1, 2]),
            (RestForOne, 1, &[2]),
            (RestForOne, 2, &[]),
        ];
        for (strategy, crashed, start) in table {
            let plan = group_restart(*strategy, 3, *crashed, |_| true);
            assert_eq!(plan.start, *start, "{strategy:?} {crashed}");
            let mut reversed = start.to_vec();
            reversed.reverse();
            assert_eq!(plan.stop, reversed, "{strategy:?} {crashed}");
        }
        assert_eq!(group_restart(OneForAll, 3, 0, |i| i != 1).start, [2]);
    }
}
