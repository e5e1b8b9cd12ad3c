//! CPU time, figures.

use std::time::Duration;

/// What indexing took.
pub struct Indexed {
    pub events: usize,
    pub cpu: Duration,
    pub wall: Duration,
    pub bytes: u64,
}

/// CPU time of a process so far, all threads, those ended too; to 10 ms.
pub fn cpu_of(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may have spaces, in parentheses.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// The CPU time of this thread so far.
pub fn cpu_of_thread() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

pub fn print_indexed(name: &str, indexed: &Indexed) {
    let millions = indexed.events as f64 / 1e6;
    println!(
        "{name}: {:.2} CPU s a million, {:.0} bytes an event, {:.0} k events/s",
        indexed.cpu.as_secs_f64() / millions,
        indexed.bytes as f64 / indexed.events as f64,
        indexed.events as f64 / indexed.wall.as_secs_f64() / 1e3,
    );
}

/// The median and the 99th percentile, in milliseconds.
pub fn quantiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort();
    let at = |q: f64| {
        let last = times.len().saturating_sub(1);
        times
            .get(((last as f64) * q).round() as usize)
            .map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    (at(0.5), at(0.99))
}

pub fn print_queries(name: &str, rows: &[(&str, (f64, f64), u64)]) {
    for (label, (median, most), found) in rows {
        println!(
            "  {name:<14} {label:<20} p50 {median:>8.2} ms  p99 {most:>8.2} ms  {found} events"
        );
    }
}
