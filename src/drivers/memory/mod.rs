//! In-memory counterparts of the drivers, for tests and for simulation.
//!
//! Each has the semantics of the real one and can be told to misbehave.

pub mod clock;
pub mod lease;
pub mod store;
pub mod watchdog;

pub use clock::ManualClock;
pub use lease::MemoryLeases;
pub use store::MemoryStore;
pub use watchdog::MemoryWatchdog;
