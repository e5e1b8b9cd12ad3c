//! Which segments go: those that every sink has read, after a while; and the oldest when there is no room.

use super::state::State;
use super::{Spool, SpoolError, WhenFull, files};

impl Spool {
    /// Removes closed segments that lie wholly before `needed`, the lowest position of any sink.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn trim(&self, needed: u64) -> Result<(), SpoolError> {
        let mut state = self.lock();
        state.needed = needed;
        while state.spans.len() > 1
            && let Some(span) = state.spans.front()
            && span.end <= needed
            && self.is_old(span.base)
        {
            self.remove_oldest(&mut state)?;
        }
        Ok(())
    }

    /// Whether a segment was last written to longer ago than it is to be kept. One that cannot be asked is.
    fn is_old(&self, base: u64) -> bool {
        let keep = self.inner.options.keep;
        let written = std::fs::metadata(files::path(self.dir(), base)).and_then(|m| m.modified());
        keep.is_zero() || !written.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed < keep))
    }

    /// Removes what may be removed until `wanted` bytes fit. False when the policy is to wait.
    pub(super) fn make_room(&self, state: &mut State, wanted: u64) -> Result<bool, SpoolError> {
        let max = self.inner.options.max_bytes;
        if state.spans.len() == 1 && state.size() > 0 {
            self.roll(state)?;
        }
        while state.size() + wanted > max && state.spans.len() > 1 {
            let unread = state
                .spans
                .front()
                .is_some_and(|span| span.end > state.needed);
            if unread && self.inner.options.when_full == WhenFull::Block {
                return Ok(false);
            }
            if unread {
                state.dropped_bytes += state.spans.front().map_or(0, |s| s.end - s.base);
            }
            self.remove_oldest(state)?;
        }
        // A batch that is larger than the whole spool is taken all the same: refusing it would be for ever.
        Ok(true)
    }

    fn remove_oldest(&self, state: &mut State) -> Result<(), SpoolError> {
        let Some(span) = state.spans.pop_front() else {
            return Ok(());
        };
        let path = files::path(&self.inner.options.dir, span.base);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                state.spans.push_front(span);
                Err(files::failed("remove", &path, error))
            }
            _ => Ok(()),
        }
    }
}
