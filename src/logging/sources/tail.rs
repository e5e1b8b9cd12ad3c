//! A log file and its rotated predecessors, read by inode and offset.
//!
//! The files are `x`, `x.1`, `x.2` … and `x.N.gz`, as Docker and logrotate name them. What is open stays
//! open, so that a file that is rotated or removed is still read to its end. A place is a number that only
//! rises; [`Tail::resolve`] says which byte of which file it is.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Rotated files that are looked for.
const MOST: u32 = 100;
/// The most bytes of a buffer that a file keeps which was read to its end.
const KEPT: usize = 4096;
/// Turns without news after which a file of an app that was moved away is done with.
const LINGER: u32 = 25;
/// The bytes at the beginning of a file by which it is told from another one with its inode.
const PRINT: u64 = 256;

/// A byte of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// The file's inode.
    pub inode: u64,
    /// The byte's offset.
    pub offset: u64,
    /// How many of the file's first bytes the print covers, and their checksum.
    pub print: (u16, u32),
}

/// What happened besides reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The file became shorter than what was read of it: it is read from its beginning.
    Truncated,
    /// The file that was read last is gone, and what followed it may be too.
    RotatedAway,
}

/// What a turn of reading did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Bytes that are done with.
    pub bytes: u64,
    /// All that is there was read.
    pub end: bool,
    /// What else happened, after the bytes of this turn.
    pub trouble: Option<Trouble>,
}

#[derive(Debug)]
enum Content {
    File(File),
    /// A compressed file, unpacked.
    Unpacked(Vec<u8>),
}

#[derive(Debug)]
struct Open {
    content: Content,
    inode: u64,
    offset: u64,
    /// The place of its first byte.
    base: u64,
    /// What happened before its first byte.
    trouble: Option<Trouble>,
}

/// A file and its predecessors.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    /// Oldest first; the front is read.
    open: VecDeque<Open>,
    /// Files that were read whole, for places that are still held: base, inode, print.
    past: VecDeque<(u64, u64, (u16, u32))>,
    /// The place after all that was given out.
    place: u64,
    buffer: Vec<u8>,
    trouble: Option<Trouble>,
    /// Everything must be read again, and what was taken before dropped.
    replays: bool,
    /// A file of ours that goes without a successor is a hole: true of an engine's files, not of an app's.
    strict: bool,
    /// Turns without anything to read.
    idle: u32,
}

impl Tail {
    /// Opens the files, going on at `resume`; without one, at the oldest byte that there is. That the file does
    /// not exist yet is no error.
    pub fn open(path: &Path, resume: Option<At>, strict: bool) -> Self {
        let mut tail = Self {
            path: path.to_owned(),
            open: VecDeque::new(),
            past: VecDeque::new(),
            place: 0,
            buffer: Vec::new(),
            trouble: None,
            replays: false,
            strict,
            idle: 0,
        };
        let mut listed = list(path);
        match resume {
            None => {}
            Some(at) => match listed.iter().position(|(file, inode)| is(file, *inode, at)) {
                // What is older was read.
                Some(found) => {
                    listed.drain(..found);
                    for (n, (file, inode)) in listed.into_iter().enumerate() {
                        tail.push(
                            Content::File(file),
                            inode,
                            if n == 0 { at.offset } else { 0 },
                        );
                    }
                    return tail;
                }
                None => {
                    // Compressed meanwhile, or gone.
                    tail.replays = true;
                    tail.unpack();
                    if tail.open.is_empty() && strict {
                        tail.trouble = Some(Trouble::RotatedAway);
                    }
                }
            },
        }
        if resume.is_none() {
            tail.unpack();
        }
        for (file, inode) in listed {
            tail.push(Content::File(file), inode, 0);
        }
        tail
    }

    /// Whether what is read may have been taken before: the place to go on from was not found.
    pub fn replays(&self) -> bool {
        self.replays
    }

    fn push(&mut self, content: Content, inode: u64, offset: u64) {
        let base = match self.open.back() {
            // Files lie one after another; how long the last one gets is not known while it is written to.
            Some(last) => last.base + (1 << 40),
            None => self.place,
        };
        if self.open.is_empty() {
            self.place = base + offset;
        }
        self.open.push_back(Open {
            content,
            inode,
            offset,
            base,
            trouble: self.trouble.take(),
        });
    }

    /// The compressed files, oldest first.
    fn unpack(&mut self) {
        let packed = (1..MOST)
            .rev()
            .map(|n| with(&self.path, &format!(".{n}.gz")));
        for path in packed.filter(|path| path.exists()).collect::<Vec<_>>() {
            let mut content = Vec::new();
            let Ok(file) = File::open(&path) else {
                continue;
            };
            // One that is being written right now is still there uncompressed; what a torn one has is taken.
            let unpacked = flate2::read::MultiGzDecoder::new(file).read_to_end(&mut content);
            if unpacked.is_ok() || !content.is_empty() {
                self.push(Content::Unpacked(content), 0, 0);
            }
        }
    }

    /// The place after all that was given out.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// Which byte of which file a place is; `None` for one in a compressed file, or before all files.
    pub fn resolve(&self, place: u64) -> Option<At> {
        let open = self.open.iter().map(|o| (o.base, o.inode, None));
        let past = self
            .past
            .iter()
            .map(|(base, inode, print)| (*base, *inode, Some(*print)));
        let (base, inode, print) = past.chain(open).rfind(|(base, ..)| *base <= place)?;
        let print = print.unwrap_or_else(|| {
            let file = self.open.iter().find(|o| o.base == base);
            file.map(|o| o.print(place - base)).unwrap_or_default()
        });
        (inode != 0).then_some(At {
            inode,
            offset: place - base,
            print,
        })
    }

    /// The path of the newest file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a turn would find something: more bytes, fewer bytes, another file. A line that waits for its end
    /// counts as news, too.
    pub fn has_news(&self) -> bool {
        let changed = match self.open.front().map(|o| (&o.content, o.offset)) {
            Some((Content::File(file), offset)) => {
                file.metadata().map_or(true, |m| m.len() != offset)
            }
            Some((Content::Unpacked(_), _)) => true,
            None => false,
        };
        changed || self.open.len() > 1 || {
            let present = std::fs::metadata(&self.path).map(|m| m.ino()).ok();
            present.is_some() && present != self.open.back().map(|o| o.inode)
        }
    }

    /// Reads about `max` bytes and hands each line to `visit`: its bytes without the line feed, its place, and
    /// whether it ends there. A line without an end is given out only once its file can get no longer, or
    /// when it is longer than `max`.
    ///
    /// # Errors
    /// What the system said; reading again goes on at the same place.
    pub fn read(
        &mut self,
        max: usize,
        mut visit: impl FnMut(&[u8], u64, bool),
    ) -> io::Result<Turn> {
        self.look();
        let mut turn = Turn::default();
        loop {
            let last = self.open.len() == 1;
            let Some(front) = self.open.front_mut() else {
                break;
            };
            if front.shrunk() {
                front.offset = 0;
                self.place = front.base;
                front.trouble = self.strict.then_some(Trouble::Truncated);
            }
            if front.trouble.is_some() {
                turn.trouble = front.trouble.take();
                return Ok(turn);
            }
            let bytes_max = max.max(1);
            // One more than there is, so that the end is seen.
            let left = usize::try_from(front.left()).unwrap_or(usize::MAX);
            let room = bytes_max.min(left.saturating_add(1));
            self.buffer.resize(room, 0);
            let filled = front.read(&mut self.buffer)?;
            let bytes = &self.buffer[..filled];
            let whole = memchr::memrchr(b'\n', bytes).map_or(0, |n| n + 1);
            let mut from = 0;
            for at in memchr::memchr_iter(b'\n', &bytes[..whole]) {
                visit(
                    &bytes[from..at],
                    front.base + front.offset + from as u64,
                    true,
                );
                from = at + 1;
            }
            let (mut used, end) = (whole, filled < room);
            let left = front.base + front.offset + whole as u64;
            if whole == 0 && filled == bytes_max {
                // A whole buffer without a line's end: it is handed on in pieces.
                visit(bytes, left, false);
                used = filled;
            }
            // An app may write on to a file that was moved away, until it opens the new one.
            let over = end && !last && (self.strict || self.idle >= LINGER);
            if over && used < filled {
                visit(&bytes[used..], left, true);
                used = filled;
            }
            front.offset += used as u64;
            self.place = front.base + front.offset;
            self.idle = if used > 0 { 0 } else { self.idle + 1 };
            turn.bytes += used as u64;
            if over {
                self.next();
                if turn.bytes == 0 {
                    continue;
                }
                return Ok(turn);
            }
            turn.end = end;
            if end && self.buffer.capacity() > KEPT {
                // Most files are quiet most of the time.
                self.buffer = Vec::new();
            }
            return Ok(turn);
        }
        turn.end = true;
        Ok(turn)
    }

    /// Gives out a line at the very end that has no end, since its writer is gone.
    ///
    /// # Errors
    /// What the system said.
    pub fn finish(&mut self, mut visit: impl FnMut(&[u8], u64, bool)) -> io::Result<()> {
        let Some(front) = self.open.front_mut() else {
            return Ok(());
        };
        self.buffer.resize(1 << 20, 0);
        let filled = front.read(&mut self.buffer)?;
        if filled > 0 {
            visit(&self.buffer[..filled], front.base + front.offset, true);
            front.offset += filled as u64;
            self.place = front.base + front.offset;
        }
        Ok(())
    }

    /// Done with the front: on to the next.
    fn next(&mut self) {
        if let Some(done) = self.open.pop_front() {
            let print = done.print(u64::MAX);
            self.past.push_back((done.base, done.inode, print));
            if self.past.len() > 8 {
                self.past.pop_front();
            }
        }
        if let Some(front) = self.open.front() {
            self.place = front.base + front.offset;
        }
    }

    /// Opens what has come since the last look, before it can be rotated away.
    fn look(&mut self) {
        let newest = self.open.back().map(|o| o.inode);
        let present = std::fs::metadata(&self.path).map(|m| m.ino());
        if present.is_err() || present.ok() == newest {
            return;
        }
        let listed = list(&self.path);
        let known = newest.and_then(|newest| listed.iter().position(|(_, inode)| *inode == newest));
        let fresh = match (known, newest) {
            (Some(at), _) => at + 1,
            (None, None) => 0,
            (None, Some(_)) => {
                if self.strict {
                    self.trouble = Some(Trouble::RotatedAway);
                }
                0
            }
        };
        for (file, inode) in listed.into_iter().skip(fresh) {
            let read = self.past.iter().any(|(_, past, print)| {
                let offset = 0;
                is(
                    &file,
                    inode,
                    At {
                        inode: *past,
                        offset,
                        print: *print,
                    },
                )
            });
            if !read && !self.open.iter().any(|o| o.inode == inode) {
                self.push(Content::File(file), inode, 0);
            }
        }
    }
}

impl Open {
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.content {
            Content::File(file) => loop {
                match file.read_at(into, self.offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => return other,
                }
            },
            Content::Unpacked(bytes) => {
                let from = usize::try_from(self.offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let count = (bytes.len() - from).min(into.len());
                into[..count].copy_from_slice(&bytes[from..from + count]);
                Ok(count)
            }
        }
    }

    /// The bytes that are left to read, as far as can be told.
    fn left(&self) -> u64 {
        let length = match &self.content {
            Content::File(file) => file.metadata().map_or(0, |m| m.len()),
            Content::Unpacked(bytes) => bytes.len() as u64,
        };
        length.saturating_sub(self.offset)
    }

    fn shrunk(&self) -> bool {
        match &self.content {
            Content::File(file) => file.metadata().is_ok_and(|m| m.len() < self.offset),
            Content::Unpacked(_) => false,
        }
    }

    fn print(&self, upto: u64) -> (u16, u32) {
        match &self.content {
            Content::File(file) => print(file, upto.min(PRINT)),
            Content::Unpacked(_) => (0, 0),
        }
    }
}

pub(super) fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The file and its uncompressed predecessors, oldest first, each opened.
fn list(path: &Path) -> Vec<(File, u64)> {
    let mut found = Vec::new();
    for number in 0..MOST {
        let path = match number {
            0 => path.to_owned(),
            n => with(path, &format!(".{n}")),
        };
        match File::open(&path).and_then(|file| file.metadata().map(|m| (file, m))) {
            // Rotated between two steps of this loop: it is there already.
            Ok((_, meta)) if found.iter().any(|(_, inode)| *inode == meta.ino()) => {}
            Ok((file, meta)) if meta.is_file() => found.push((file, meta.ino())),
            Ok(_) => {}
            // In the middle of a rotation there may be no present file.
            Err(_) if number == 0 => {}
            Err(_) => break,
        }
    }
    found.reverse();
    found
}

/// How many bytes at the beginning of a file, `upto` at most, have which checksum.
fn print(file: &File, upto: u64) -> (u16, u32) {
    let mut bytes = [0; PRINT as usize];
    let wanted = upto.min(PRINT) as usize;
    let length = file.read_at(&mut bytes[..wanted], 0).unwrap_or_default();
    (length as u16, crc32c::crc32c(&bytes[..length]))
}

/// Whether `at` speaks of this file. An inode alone does not tell: it is given again.
fn is(file: &File, inode: u64, at: At) -> bool {
    inode == at.inode && print(file, u64::from(at.print.0)) == at.print
}
