//! Tells readers that something has happened in a folder, through inotify: a reader of a quiet file then need not
//! look several times a second, and one of a file that was written to hears of it at once.
//!
//! A hint and nothing more: readers look by themselves now and then, so that a folder that cannot be watched (no
//! watches left, a file system of another host) is read all the same, only later.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;

/// Room for events; a name is at most 255 bytes.
const ROOM: usize = 8192;

/// Who is told of which folder, by the kernel's number for it.
type Readers = HashMap<i32, Vec<Weak<Notify>>>;

/// Watches folders; its thread ends with it.
#[derive(Debug)]
pub struct Watcher {
    kernel: Arc<OwnedFd>,
    readers: Arc<Mutex<Readers>>,
    /// Closed when this is dropped, which ends the thread.
    _alive: OwnedFd,
}

impl Watcher {
    /// Begins.
    ///
    /// # Errors
    /// What the system said: no inotify instance or thread is left.
    pub fn new() -> io::Result<Self> {
        let kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let (ended, alive) = pipe_with(PipeFlags::CLOEXEC)?;
        let watcher = Self {
            kernel: Arc::new(kernel),
            readers: Arc::default(),
            _alive: alive,
        };
        let (kernel, readers) = (Arc::clone(&watcher.kernel), Arc::clone(&watcher.readers));
        std::thread::Builder::new()
            .name("log-watch".to_owned())
            .spawn(move || watch(&kernel, &ended, &readers))?;
        Ok(watcher)
    }

    /// Notifies `reader` of whatever happens in `folder`, as long as the reader lives.
    ///
    /// # Errors
    /// What the system said.
    pub fn watch(&self, folder: &Path, reader: &Arc<Notify>) -> io::Result<()> {
        let of = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        // The same folder has the same number.
        let number = inotify::add_watch(&*self.kernel, folder, of)?;
        let told = readers.entry(number).or_default();
        told.retain(|known| known.strong_count() > 0);
        told.push(Arc::downgrade(reader));
        Ok(())
    }
}

fn watch(kernel: &OwnedFd, ended: &OwnedFd, readers: &Mutex<Readers>) {
    loop {
        let mut fds = [
            PollFd::new(kernel, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "log files are looked at now and then only");
                return;
            }
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        tell(kernel, readers);
    }
}

/// Takes what the kernel has, and tells each reader.
fn tell(kernel: &OwnedFd, readers: &Mutex<Readers>) {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut events = inotify::Reader::new(kernel, &mut room);
    // Nothing more, or what a later look finds.
    while let Ok(event) = events.next() {
        let number = event.wd();
        let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
        if event.events().contains(ReadFlags::IGNORED) {
            // The folder is gone.
            readers.remove(&number);
            continue;
        }
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            for reader in readers.values().flatten().filter_map(Weak::upgrade) {
                reader.notify_one();
            }
            continue;
        }
        let Some(told) = readers.get_mut(&number) else {
            continue;
        };
        told.retain(|reader| match reader.upgrade() {
            Some(reader) => {
                reader.notify_one();
                true
            }
            None => false,
        });
        if told.is_empty() {
            readers.remove(&number);
            // Gone by itself, if it fails.
            let _ = inotify::remove_watch(kernel, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_reader_hears_of_its_own_folder() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let watcher = Watcher::new().unwrap();
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        watcher.watch(one.path(), &first).unwrap();
        watcher.watch(two.path(), &second).unwrap();
        let file = one.path().join("x.log");
        std::fs::write(&file, "a line\n").unwrap();
        tokio::time::timeout(PATIENCE, first.notified())
            .await
            .unwrap();
        std::fs::write(two.path().join("y.log"), "a line\n").unwrap();
        tokio::time::timeout(PATIENCE, second.notified())
            .await
            .unwrap();
        std::fs::rename(&file, two.path().join("z.log")).unwrap();
        tokio::time::timeout(PATIENCE, second.notified())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn readers_and_folders_that_are_gone_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        let watcher = Watcher::new().unwrap();
        let (stays, goes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        watcher.watch(&gone, &stays).unwrap();
        watcher.watch(dir.path(), &stays).unwrap();
        watcher.watch(dir.path(), &goes).unwrap();
        drop(goes);
        std::fs::remove_dir(&gone).unwrap();
        let wait = async {
            let known = || {
                let readers = watcher.readers.lock().unwrap();
                readers.values().map(Vec::len).sum::<usize>()
            };
            while known() > 1 {
                std::fs::write(dir.path().join("x"), "x").unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
        assert!(watcher.watch(&gone, &stays).is_err());
    }
}
