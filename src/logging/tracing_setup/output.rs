//! The queue between whoever logs and the thread that writes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait; about 2 MiB.
const CAPACITY: usize = 8192;
/// How long the end of the process waits for them.
const FLUSH: Duration = Duration::from_secs(1);

/// What the writing thread is told.
enum Message {
    /// To write a line.
    Line(Vec<u8>),
    /// To say when all before it is written.
    Flush(SyncSender<()>),
}

/// Lines on their way out.
#[derive(Debug)]
pub struct Queue {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Starts a thread that writes to `out` for as long as the queue is held. `gap` makes the line
    /// that stands for dropped ones.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        out: impl Write + Send + 'static,
        gap: fn(u64) -> String,
    ) -> io::Result<Arc<Self>> {
        let (lines, waiting) = sync_channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("lain-log".to_owned())
            .spawn(move || write_all(&waiting, out, gap, &counted))?;
        Ok(Arc::new(Self { lines, lost }))
    }

    /// Queues a line; never waits.
    pub fn push(&self, line: Vec<u8>) {
        match self.lines.try_send(Message::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lines dropped so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what is queued is written, for at most a second.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.lines.try_send(Message::Flush(done)).is_ok() {
            // Nobody reads the log any more when this times out.
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

fn write_all(
    waiting: &Receiver<Message>,
    mut out: impl Write,
    gap: fn(u64) -> String,
    lost: &AtomicU64,
) {
    let mut told = 0;
    for message in waiting {
        // A log that cannot be written has nowhere to say so.
        let _ = match message {
            Message::Line(line) => out.write_all(&line),
            Message::Flush(done) => {
                let flushed = out.flush();
                let _ = done.try_send(());
                flushed
            }
        };
        let now = lost.load(Ordering::Relaxed);
        if now > told {
            let _ = writeln!(out, "{}", gap(now - told));
            told = now;
        }
    }
}

/// Makes a writer for each event, as `tracing-subscriber` asks.
#[derive(Debug, Clone)]
pub struct Output {
    queue: Arc<Queue>,
}

impl Output {
    /// An output into `queue`.
    pub fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Queues a line.
    pub fn push(&self, line: Vec<u8>) {
        self.queue.push(line);
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The formatter writes each event with one call.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// A reader that takes nothing until it is released.
    #[derive(Clone, Default)]
    struct Paused(Arc<(Mutex<Gate>, Condvar)>);

    #[derive(Default)]
    struct Gate {
        open: bool,
        written: Vec<u8>,
    }

    impl Paused {
        fn release(&self) {
            self.0.0.lock().unwrap().open = true;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().written.clone()).unwrap()
        }
    }

    impl Write for Paused {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let state = self.0.0.lock().unwrap();
            let mut state = self.0.1.wait_while(state, |s| !s.open).unwrap();
            state.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_delays_nobody_and_the_gap_is_marked() {
        let out = Paused::default();
        let queue = Queue::start(out.clone(), |n| format!("{n} dropped")).unwrap();
        for n in 0..CAPACITY + 100 {
            queue.push(format!("{n}\n").into_bytes());
        }
        // One line may be in the writer's hands.
        assert!((99..=100).contains(&queue.lost()), "{}", queue.lost());
        out.release();
        // The gap is told of before the lines that were queued: a full queue takes no flush that would wait for them.
        let last = format!("\n{}\n", CAPACITY - 1);
        while !out.text().contains(" dropped") || !out.text().contains(&last) {
            queue.flush();
        }
        let text = out.text();
        assert!(text.contains("\n100\n") && text.contains(&format!("{} dropped", queue.lost())));
    }

    #[test]
    fn a_flush_waits_for_what_came_before() {
        let out = Paused::default();
        out.release();
        let queue = Queue::start(out.clone(), |n| format!("{n} dropped")).unwrap();
        (0..1000).for_each(|n| queue.push(format!("{n}\n").into_bytes()));
        queue.flush();
        assert_eq!(out.text().lines().count(), 1000);
    }
}
