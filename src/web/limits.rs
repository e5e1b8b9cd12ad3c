//! The limits of the API: sizes, times, rates and the number of open streams.
//!
//! [`RateLimiter`] and [`Slots`] are plain bookkeeping over a clock that is passed in; `gate` asks
//! them. Neither grows without bound, however many addresses call.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The limits, each with a sensible default.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body, in bytes. Default 1 MiB.
    pub body: usize,
    /// How long the head of a request may take. Default 10 s.
    pub head_time: Duration,
    /// How long the body of a request may take. Default 30 s.
    pub body_time: Duration,
    /// How long an answer may take; streams do not count. Default 60 s.
    pub answer_time: Duration,
    /// Requests a second that one token may make from one address, over time. Default 200.
    pub rate: u32,
    /// Requests that it may make at once. Default 400.
    pub burst: u32,
    /// Refused tokens a minute from one address. Default 30.
    pub refusals: u32,
    /// Connections open at a time. Default 2000.
    pub connections: usize,
    /// SSE and WebSocket streams open at a time. Default 256.
    pub streams: usize,
    /// Of those, by one token from one address. Default 64.
    pub streams_each: usize,
    /// How long a stream's reader may take nothing before it is cut off. Default 30 s.
    pub stream_stall: Duration,
    /// How long an SSE stream lasts before the client has to resume it, so that a withdrawn token does not read for ever. Default 1 h.
    pub stream_life: Duration,
    /// How often an idle stream says that it lives. Default 15 s.
    pub heartbeat: Duration,
    /// Answers kept for repeated idempotency keys. Default 2000.
    pub idempotency_keys: usize,
    /// Bytes of them. Default 8 MiB.
    pub idempotency_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            answer_time: Duration::from_secs(60),
            rate: 200,
            burst: 400,
            refusals: 30,
            connections: 2000,
            streams: 256,
            streams_each: 64,
            stream_stall: Duration::from_secs(30),
            stream_life: Duration::from_secs(3600),
            heartbeat: Duration::from_secs(15),
            idempotency_keys: 2000,
            idempotency_bytes: 8 * 1024 * 1024,
        }
    }
}

/// Who is counted: a token's name (empty: none) and an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The token's name.
    pub name: String,
    /// The address; of IPv6 the /64, which is what one customer has.
    pub address: IpAddr,
}

impl Source {
    /// Of this token, from this address.
    pub fn new(name: &str, address: IpAddr) -> Self {
        let address = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
            },
        };
        Self {
            name: name.to_owned(),
            address,
        }
    }
}

/// The most sources that a limiter remembers.
const MAX_SOURCES: usize = 10_000;

/// The generic cell rate algorithm (ITU-T I.371): one instant a source says all of its past.
#[derive(Debug)]
pub struct RateLimiter {
    /// Between two requests, at the allowed rate.
    interval: Duration,
    /// How far ahead of its rate a source may be.
    tolerance: Duration,
    /// When each source would next be due if it kept to its rate.
    due: Mutex<HashMap<Source, Instant>>,
}

impl RateLimiter {
    /// Allows `count` requests per `period` over time, and `burst` at once.
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let interval = period / count.max(1);
        Self {
            interval,
            tolerance: interval * burst.max(1).saturating_sub(1),
            due: Mutex::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// How long the source has to wait before its next one.
    pub fn admit(&self, source: &Source, now: Instant) -> Result<(), Duration> {
        let mut all = lock(&self.due);
        let due = all.get(source).copied().unwrap_or(now).max(now);
        let ahead = due.duration_since(now);
        if ahead > self.tolerance {
            return Err(ahead - self.tolerance);
        }
        if all.len() >= MAX_SOURCES && !all.contains_key(source) {
            make_room(&mut all, now);
        }
        all.insert(source.clone(), due + self.interval);
        Ok(())
    }
}

/// Forgets sources that have nothing against them, or else the half that has the least.
fn make_room(all: &mut HashMap<Source, Instant>, now: Instant) {
    all.retain(|_, due| *due > now);
    if all.len() >= MAX_SOURCES {
        let mut dues: Vec<Instant> = all.values().copied().collect();
        let middle = dues.len() / 2;
        let (_, median, _) = dues.select_nth_unstable(middle);
        let median = *median;
        all.retain(|_, due| *due > median);
    }
}

/// Counts open streams, in all and for each source.
#[derive(Debug)]
pub struct Slots {
    total: usize,
    each: usize,
    taken: Mutex<HashMap<Source, usize>>,
}

impl Slots {
    /// At most `total`, and `each` for one source.
    pub fn new(total: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            each,
            taken: Mutex::default(),
        })
    }

    /// Takes a slot until the returned value is dropped; `None`: there is none left.
    pub fn take(self: &Arc<Self>, source: &Source) -> Option<Slot> {
        let mut taken = lock(&self.taken);
        let own = taken.get(source).copied().unwrap_or(0);
        if own >= self.each || taken.values().sum::<usize>() >= self.total {
            return None;
        }
        taken.insert(source.clone(), own + 1);
        Some(Slot {
            slots: Arc::clone(self),
            source: source.clone(),
        })
    }

    /// How many are taken.
    pub fn in_use(&self) -> usize {
        lock(&self.taken).values().sum()
    }
}

/// An open stream; dropping it gives the slot back.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    source: Source,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = lock(&self.slots.taken);
        match taken.get_mut(&self.source) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.remove(&self.source);
            }
        }
    }
}

/// Locks; what these maps hold stays right even if a holder panicked, since each change is one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, last: u8) -> Source {
        Source::new(name, IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limiter = RateLimiter::new(10, Duration::from_secs(1), 3);
        let (a, start) = (source("a", 1), Instant::now());
        for _ in 0..3 {
            assert_eq!(limiter.admit(&a, start), Ok(()));
        }
        assert_eq!(limiter.admit(&a, start), Err(Duration::from_millis(100)));
        assert_eq!(limiter.admit(&source("a", 2), start), Ok(()));
        assert_eq!(limiter.admit(&source("b", 1), start), Ok(()));
        let later = start + Duration::from_millis(100);
        assert_eq!(limiter.admit(&a, later), Ok(()));
        assert!(limiter.admit(&a, later).is_err());
        assert_eq!(limiter.admit(&a, start + Duration::from_secs(9)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_the_busiest_is_remembered() {
        let limiter = RateLimiter::new(1, Duration::from_secs(1), 2);
        let (busy, now) = (source("busy", 1), Instant::now());
        assert_eq!(limiter.admit(&busy, now), Ok(()));
        assert_eq!(limiter.admit(&busy, now), Ok(()));
        for n in 0..25_000u32 {
            let address = IpAddr::from((n + 1).to_be_bytes());
            assert_eq!(limiter.admit(&Source::new("", address), now), Ok(()));
        }
        assert!(lock(&limiter.due).len() <= MAX_SOURCES);
        assert!(limiter.admit(&busy, now).is_err());
    }

    #[test]
    fn ipv6_counts_by_its_64_and_mapped_ipv4_as_ipv4() {
        let of = |text: &str| Source::new("", text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn slots_are_given_back() {
        let slots = Slots::new(3, 2);
        let (a, b) = (source("a", 1), source("b", 1));
        let first = slots.take(&a).unwrap();
        let _second = slots.take(&a).unwrap();
        assert!(slots.take(&a).is_none());
        let _third = slots.take(&b).unwrap();
        assert!(slots.take(&b).is_none());
        drop(first);
        assert_eq!(slots.in_use(), 2);
        assert!(slots.take(&b).is_some());
    }
}
