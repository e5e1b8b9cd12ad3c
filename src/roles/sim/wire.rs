//! The network between the control host and its nodes, as far as a connection lets faults through.
//!
//! The link is a stream: TCP loses, repeats and reorders nothing within a connection that stands. So a cut holds
//! what is under way until it heals, a break loses it, and what comes late comes in order. Frames repeated by
//! their sender are the one thing more that the link's protocol allows for.

use super::chance::Chance;
use crate::domain::id::NodeName;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

/// Bytes under way in one direction, at most.
const WINDOW: usize = 4 << 20;
/// How long a connection attempt that meets a cut takes to fail.
const CONNECT: Duration = Duration::from_secs(3);

/// One direction of one connection.
#[derive(Default)]
struct Pipe {
    queue: VecDeque<(Instant, Vec<u8>)>,
    /// Read up to here of the first piece.
    offset: usize,
    bytes: usize,
    last: Option<Instant>,
    /// The writer is done: what is under way arrives, then the end.
    closed: bool,
    /// The connection broke.
    broken: bool,
    /// Nothing gets through now.
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

/// How one node's way to the control host is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    /// Nothing gets from the node to the control host.
    pub cut_up: bool,
    /// Nothing gets from the control host to the node.
    pub cut_down: bool,
    /// What is under way takes up to this much longer.
    pub delay: Duration,
    /// So many frames in a hundred are sent twice.
    pub repeated: u32,
}

/// A pipe with both its ends.
type SharedPipe = Arc<Mutex<Pipe>>;

#[derive(Default)]
struct Line {
    way: Way,
    /// Up and down of each connection that may still stand.
    pipes: Vec<(SharedPipe, SharedPipe)>,
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
}

struct State {
    lines: BTreeMap<NodeName, Line>,
    chance: Chance,
    /// Where the control host listens, while it does.
    listener: Option<mpsc::UnboundedSender<(NodeName, End)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net {
    /// A network without faults.
    pub fn new(chance: Chance) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                lines: BTreeMap::new(),
                chance,
                listener: None,
            })),
        }
    }

    /// The control host listens from now on.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<(NodeName, End)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.state).listener = Some(sender);
        receiver
    }

    /// The control host is gone; its ends of connections are dropped by itself.
    pub fn close(&self) {
        lock(&self.state).listener = None;
    }

    /// A connection from a node to the control host.
    ///
    /// # Errors
    /// As a socket would: refused at once, or no answer for a while.
    pub async fn dial(&self, node: &NodeName) -> io::Result<End> {
        let cut = |net: &Self| {
            let way = net.way(node);
            way.cut_up || way.cut_down
        };
        if cut(self) {
            sleep(CONNECT).await;
            if cut(self) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        sleep(Duration::from_millis(1)).await;
        let mut state = lock(&self.state);
        let Some(listener) = state.listener.clone() else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (up, down) = (Arc::<Mutex<Pipe>>::default(), Arc::<Mutex<Pipe>>::default());
        let line = state.lines.entry(node.clone()).or_default();
        line.pipes.retain(|(up, _)| Arc::strong_count(up) > 1);
        line.pipes.push((Arc::clone(&up), Arc::clone(&down)));
        let (cut_up, cut_down) = (line.way.cut_up, line.way.cut_down);
        (lock(&up).cut, lock(&down).cut) = (cut_up, cut_down);
        let end = |read: &Arc<Mutex<Pipe>>, write: &Arc<Mutex<Pipe>>| End {
            net: self.clone(),
            node: node.clone(),
            read: Arc::clone(read),
            write: Arc::clone(write),
            timer: None,
        };
        let ours = end(&down, &up);
        match listener.send((node.clone(), end(&up, &down))) {
            Ok(()) => Ok(ours),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// How a node's way is.
    pub fn way(&self, node: &NodeName) -> Way {
        let state = lock(&self.state);
        state.lines.get(node).map(|l| l.way).unwrap_or_default()
    }

    /// Changes how a node's way is; a cut that heals lets through what it held.
    pub fn set_way(&self, node: &NodeName, change: impl FnOnce(&mut Way)) {
        let mut state = lock(&self.state);
        let line = state.lines.entry(node.clone()).or_default();
        change(&mut line.way);
        for (up, down) in &line.pipes {
            for (pipe, cut) in [(up, line.way.cut_up), (down, line.way.cut_down)] {
                let mut pipe = lock(pipe);
                pipe.cut = cut;
                pipe.wake();
            }
        }
    }

    /// Breaks a node's connections: both ends are told, and what was under way is lost.
    pub fn break_connections(&self, node: &NodeName) {
        self.each_pipe(node, |pipe| {
            pipe.broken = true;
            pipe.queue.clear();
            pipe.wake();
        });
    }

    /// The node lost its power: the other end is told nothing.
    pub fn vanish(&self, node: &NodeName) {
        self.each_pipe(node, |pipe| {
            pipe.cut = true;
            pipe.queue.clear();
        });
        if let Some(line) = lock(&self.state).lines.get_mut(node) {
            line.pipes.clear();
        }
    }

    fn each_pipe(&self, node: &NodeName, change: impl Fn(&mut Pipe)) {
        let state = lock(&self.state);
        for (up, down) in state.lines.get(node).into_iter().flat_map(|l| &l.pipes) {
            change(&mut lock(up));
            change(&mut lock(down));
        }
    }

    /// How long a piece takes now, and whether it is sent twice.
    fn fare(&self, node: &NodeName) -> (Duration, bool) {
        let mut state = lock(&self.state);
        let way = state.lines.get(node).map(|l| l.way).unwrap_or_default();
        let most = u64::try_from(way.delay.as_millis()).unwrap_or(0);
        let took = Duration::from_micros(500) + state.chance.millis(0, most.max(1));
        let twice = way.repeated > 0 && state.chance.percent(way.repeated);
        (took, twice)
    }
}

/// One end of a connection.
pub struct End {
    net: Net,
    node: NodeName,
    read: Arc<Mutex<Pipe>>,
    write: Arc<Mutex<Pipe>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let due = {
            let mut pipe = lock(&self.read);
            if pipe.broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let pipe = &mut *pipe;
            let now = Instant::now();
            let mut due = None;
            while !pipe.cut
                && buffer.remaining() > 0
                && let Some((at, piece)) = pipe.queue.front()
            {
                if *at > now {
                    due = Some(*at);
                    break;
                }
                let rest = &piece[pipe.offset..];
                let taken = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..taken]);
                (pipe.offset, pipe.bytes) = (pipe.offset + taken, pipe.bytes - taken);
                if pipe.offset == piece.len() {
                    (pipe.offset, _) = (0, pipe.queue.pop_front());
                }
            }
            if buffer.filled().len() > before {
                if let Some(writer) = pipe.writer.take() {
                    writer.wake();
                }
                return Poll::Ready(Ok(()));
            }
            if pipe.closed && pipe.queue.is_empty() && !pipe.cut {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(task.waker().clone());
            due
        };
        match due {
            None => self.timer = None,
            Some(at) => {
                let timer = self
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                timer.as_mut().reset(at);
                if timer.as_mut().poll(task).is_ready() {
                    task.waker().wake_by_ref();
                }
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (took, twice) = self.net.fare(&self.node);
        let mut pipe = lock(&self.write);
        // To a host that lost its power one writes until the window is full.
        if pipe.broken || (pipe.closed && !pipe.cut) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.bytes >= WINDOW {
            pipe.writer = Some(task.waker().clone());
            return Poll::Pending;
        }
        let arrives = Instant::now() + took;
        let arrives = pipe.last.map_or(arrives, |last| last.max(arrives));
        pipe.last = Some(arrives);
        // A frame is written at once: a piece that begins with its length is whole.
        for _ in 0..=usize::from(twice && is_whole(bytes)) {
            pipe.bytes += bytes.len();
            pipe.queue.push_back((arrives, bytes.to_vec()));
        }
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.write);
        pipe.closed = true;
        pipe.wake();
        Poll::Ready(Ok(()))
    }
}

/// Whether these bytes are one frame and nothing else.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    usize::try_from(u32::from_be_bytes(*length)).is_ok_and(|length| length == rest.len())
}

impl Drop for End {
    /// The process that held it is gone: its system tells the other end, if anything gets through.
    fn drop(&mut self) {
        for pipe in [&self.write, &self.read] {
            let mut pipe = lock(pipe);
            pipe.closed = true;
            pipe.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn connected() -> (Net, NodeName, End, End) {
        let net = Net::new(Chance::new(1, 1));
        let node: NodeName = "n1".parse().expect("a name");
        let mut listening = net.listen();
        let ours = net.dial(&node).await.expect("connected");
        let (_, theirs) = listening.recv().await.expect("accepted");
        (net, node, ours, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_holds_what_is_under_way_until_it_heals() {
        let (net, node, mut ours, mut theirs) = connected().await;
        net.set_way(&node, |w| w.cut_up = true);
        ours.write_all(b"late").await.expect("written");
        let mut got = [0; 4];
        let read = tokio::time::timeout(Duration::from_secs(9), theirs.read_exact(&mut got));
        assert!(read.await.is_err());
        theirs.write_all(b"down").await.expect("written");
        ours.read_exact(&mut got)
            .await
            .expect("the other way is open");
        net.set_way(&node, |w| w.cut_up = false);
        theirs.read_exact(&mut got).await.expect("read");
        assert_eq!(&got, b"late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_break_is_noticed_by_both_and_power_loss_by_nobody() {
        let (net, node, mut ours, mut theirs) = connected().await;
        net.break_connections(&node);
        assert!(ours.read_u8().await.is_err() && theirs.read_u8().await.is_err());
        let (net, node, ours, mut theirs) = connected().await;
        net.vanish(&node);
        drop(ours);
        let read = tokio::time::timeout(Duration::from_secs(60), theirs.read_u8());
        assert!(read.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whole_frames_are_repeated_and_order_is_kept() {
        let (net, node, mut ours, mut theirs) = connected().await;
        net.set_way(&node, |w| {
            (w.repeated, w.delay) = (100, Duration::from_millis(50));
        });
        ours.write_all(b"\0\0\0\x01a").await.expect("written");
        ours.write_all(b"\0\0\0\x01b").await.expect("written");
        drop(ours);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.expect("read");
        assert_eq!(got, b"\0\0\0\x01a\0\0\0\x01a\0\0\0\x01b\0\0\0\x01b");
    }
}
