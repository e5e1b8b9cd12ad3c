//! Log events as fifty instances write them over a day; the same for each candidate.

use crate::support::cpu_of_thread;
use chrono::{DateTime, SecondsFormat, Utc};
use lain::ports::log_index::IndexEvent;
use std::fmt::Write;
use std::time::Duration;

pub const INSTANCES: u64 = 50;
const DAY: i64 = 86_400_000_000_000;
const START: i64 = 1_740_787_200_000_000_000;

pub struct Corpus {
    pub events: usize,
}

/// A generator of numbers that looks random and is the same each time (splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n
        .wrapping_add(0x9e37_79b9_7f4a_7c15)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Corpus {
    pub fn new(events: usize) -> Self {
        Self { events }
    }

    fn at(&self, n: usize) -> DateTime<Utc> {
        let step = DAY / self.events as i64;
        let jitter = (mix(n as u64) % step.max(1) as u64) as i64;
        DateTime::from_timestamp_nanos(START + n as i64 * step + jitter)
    }

    /// The beginning of an hour of the day.
    pub fn hour(&self, hour: usize) -> String {
        DateTime::from_timestamp_nanos(START + hour as i64 * 3_600_000_000_000)
            .to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    pub fn second(&self, second: usize) -> String {
        DateTime::from_timestamp_nanos(START + second as i64 * 1_000_000_000)
            .to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    pub fn event(&self, n: usize) -> IndexEvent {
        let r = mix(n as u64 ^ 0x5555);
        let instance = r % INSTANCES;
        let at = self.at(n);
        let pick = |shift: u32, of: u64| (r >> shift) % of;
        let (status, level) = match pick(8, 100) {
            0..=1 => (500 + pick(20, 5), "error"),
            2..=6 => (404, "warn"),
            _ => (200, "info"),
        };
        let message = match pick(16, 10) {
            0 => format!(
                "connection to 10.0.{}.{}:5432 refused, retry {} of 5 in {} ms",
                pick(24, 4),
                pick(28, 250),
                pick(32, 5),
                pick(36, 900)
            ),
            1 => format!(
                "worker {} finished job {:016x} in {}.{} s, {} rows written",
                pick(24, 32),
                mix(r),
                pick(28, 30),
                pick(32, 10),
                pick(36, 5000)
            ),
            2 => format!(
                "cache miss for user_{} session {:08x}, pool {} exhausted",
                pick(24, 50_000),
                mix(r) as u32,
                pick(40, 50)
            ),
            3 => format!(
                "upstream timeout{} while reading response header from v1.{}.{}",
                pick(24, 1000),
                pick(36, 20),
                pick(40, 9)
            ),
            _ => format!(
                "GET /api/v1/orders/{}/items?page={} HTTP/1.1 {status} {} {}.{:03}",
                pick(24, 100_000),
                pick(42, 20),
                pick(30, 20_000),
                pick(36, 2),
                pick(40, 1000)
            ),
        };
        let id = format!("{:016x}{:016x}", mix(r ^ 1), mix(r ^ 2));
        let mut json = String::with_capacity(900);
        let app = instance / 5;
        // Writing to a String cannot fail.
        let _ = write!(
            json,
            "{{\"app\":\"app{app}\",\"container_created_at\":\"2025-02-28T10:00:{instance:02}.123456789Z\",\"container_id\":\"{:016x}{:016x}{:016x}{:016x}\",\
             \"container_name\":\"app{app}.web.web.v7-i{instance}-d0\",\"event_id\":\"{id}\",\"host\":\"node{}\",\"image\":\"registry.lain.local/app{app}:release-1740700000-{:012x}\",\
             \"instance\":{instance},\"label\":{{\"cc.bdp.lain.deployd.pg_name\":\"app{app}.web.web\",\"cc.bdp.lain.deployd.instance_no\":\"{instance}\",\"team\":\"team{}\"}},\
             \"level\":\"{level}\",\"message\":\"{message}\",\"node\":\"node{}\",\"proc\":\"web\",\"revision\":7,\"seq\":{},\"source_type\":\"docker_logs\",\"stream\":\"{}\",\"timestamp\":\"{}\"}}",
            mix(instance),
            mix(instance + 100),
            mix(instance + 200),
            mix(instance + 300),
            instance % 4,
            mix(app) & 0xffff_ffff_ffff,
            app % 3,
            instance % 4,
            n as u64 / INSTANCES,
            if level == "error" { "stderr" } else { "stdout" },
            at.to_rfc3339_opts(SecondsFormat::Nanos, true),
        );
        IndexEvent {
            id,
            at,
            json: json.into_bytes(),
        }
    }

    /// Events from `from`, and the CPU time that making them took.
    pub fn batch(&self, from: usize, count: usize) -> (Vec<IndexEvent>, Duration) {
        let begun = cpu_of_thread();
        let to = (from + count).min(self.events);
        let events = (from..to).map(|n| self.event(n)).collect();
        (events, cpu_of_thread() - begun)
    }

    pub fn mean_bytes(&self) -> f64 {
        let sample = 1000.min(self.events);
        (0..sample).map(|n| self.event(n).json.len()).sum::<usize>() as f64 / sample as f64
    }
}
