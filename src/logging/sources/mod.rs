//! Sources of events: what containers print, the files that procs declare.
//!
//! ```text
//! json_file.rs  a line of Docker's json-file, or of the process runtime's  (pure)
//! ordinals.rs   the number of a line at its instant; what a replay repeats (pure)
//! tail.rs       a file and its rotated predecessors, by inode and offset
//! file.rs       tail → lines → events in a batch, with the place to go on from
//! container.rs all that one container writes
//! stream.rs     the engine's log stream, where its files cannot be read
//! ```
//! Each is driven by the container's `logs` actor.

pub mod container;
pub mod file;
#[cfg(test)]
mod file_tests;
pub mod json_file;
pub mod ordinals;
pub mod stream;
pub mod tail;
#[cfg(test)]
mod tail_tests;
pub mod watch;
