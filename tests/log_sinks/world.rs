//! Containers that write, a pipeline that is killed, and what has to have arrived in the end.

use super::child::FOLDER;
use super::servers::Running;
use lain::domain::log::Stamp;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Containers, and the pipeline that reads them.
pub struct World {
    /// Everything is in here.
    pub dir: tempfile::TempDir,
    instances: u32,
    written: u64,
    pipeline: Option<Running>,
    kills: u32,
}

/// An event as a receiver has it: instance and number of the line.
pub type Seen = (u32, u64);

impl World {
    /// So many containers of app `shop`, and a configuration with these sinks.
    pub fn new(instances: u32, sinks: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lain-logs-")
            .tempdir()
            .unwrap();
        for no in 1..=instances {
            std::fs::create_dir_all(dir.path().join(format!("instances/shop.{no}"))).unwrap();
        }
        std::fs::write(dir.path().join("lain.toml"), sinks).unwrap();
        Self {
            dir,
            instances,
            written: 0,
            pipeline: None,
            kills: 0,
        }
    }

    fn file(&self, no: u32) -> PathBuf {
        self.dir
            .path()
            .join(format!("instances/shop.{no}/x-json.log"))
    }

    /// Each container writes so many lines more; every fourth call its engine rotates the file.
    pub fn write(&mut self, lines: u64) {
        for no in 1..=self.instances {
            let mut text = Vec::new();
            for n in self.written..self.written + lines {
                let at =
                    Stamp(1_740_816_000_000_000_000 + n.cast_signed() * 1_000_000 + i64::from(no));
                let (stream, log) = match n % 50 {
                    // A line with a line feed inside, as JSON has it; and one of another stream.
                    0 => ("stderr", format!("WARN {no} {n} a \\\"quoted\\\" word\\n")),
                    1 => (
                        "stdout",
                        format!("{{\\\"no\\\":{no},\\\"n\\\":{n},\\\"level\\\":\\\"info\\\"}} \\n"),
                    ),
                    _ => (
                        "stdout",
                        format!(
                            "INFO {no} {n} GET /path/to/something 200 {}\\n",
                            "x".repeat(60)
                        ),
                    ),
                };
                writeln!(
                    text,
                    "{{\"log\":\"{log}\",\"stream\":\"{stream}\",\"time\":\"{at}\"}}"
                )
                .unwrap();
            }
            let path = self.file(no);
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            file.write_all(&text).unwrap();
            if (self.written / lines.max(1)) % 4 == 3 {
                rotate(&path);
            }
        }
        self.written += lines;
    }

    /// Starts the pipeline.
    pub fn start(&mut self) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "child::pipeline",
            "--nocapture",
            "--test-threads=1",
        ]);
        command.env(FOLDER, self.dir.path());
        self.pipeline = Some(Running::start(
            &mut command,
            &self.dir.path().join("pipeline.log"),
        ));
    }

    /// SIGKILL, and at once again.
    pub fn kill(&mut self) {
        self.pipeline.as_mut().unwrap().kill();
        self.kills += 1;
        self.start();
    }

    /// What the pipeline shows of its sinks.
    pub fn sinks(&self) -> serde_json::Value {
        let text = std::fs::read(self.dir.path().join("sinks.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Asks `arrived` until it has every line, then checks: none is missing, and those of an instance are in order
    /// when each is taken the first time. Returns how many came more than once.
    pub fn all_arrive(&self, arrived: impl FnMut() -> Vec<Seen>) -> usize {
        self.all_arrive_within(Duration::from_secs(90), arrived)
    }

    fn all_arrive_within(&self, most: Duration, mut arrived: impl FnMut() -> Vec<Seen>) -> usize {
        let wanted = u64::from(self.instances) * self.written;
        let until = Instant::now() + most;
        let mut seen;
        let mut by_instance: BTreeMap<u32, Vec<u64>>;
        loop {
            seen = arrived();
            by_instance = BTreeMap::new();
            let mut known = std::collections::HashSet::new();
            for (no, n) in &seen {
                if known.insert((*no, *n)) {
                    by_instance.entry(*no).or_default().push(*n);
                }
            }
            if known.len() as u64 >= wanted {
                break;
            }
            if Instant::now() > until {
                let sinks = serde_json::to_string_pretty(&self.sinks()).unwrap();
                let log = std::fs::read_to_string(self.dir.path().join("pipeline.log"))
                    .unwrap_or_default();
                panic!("{} of {wanted} arrived; {sinks}\n{log}", known.len());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        for (no, lines) in &by_instance {
            let wanted: Vec<u64> = (0..self.written).collect();
            assert_eq!(lines, &wanted, "the lines of instance {no}, in order");
        }
        seen.len() - usize::try_from(wanted).unwrap()
    }
}

/// As Docker does with many files kept.
fn rotate(path: &Path) {
    let with = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..30).rev() {
        let _ = std::fs::rename(with(n), with(n + 1));
    }
    std::fs::rename(path, with(1)).unwrap();
    std::fs::write(path, "").unwrap();
}

/// Instance and number in a line's text.
pub fn parse(message: &str) -> Seen {
    if message.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(message.trim()).unwrap();
        let no = u32::try_from(value["no"].as_u64().unwrap()).unwrap();
        return (no, value["n"].as_u64().unwrap());
    }
    let mut words = message.trim_start().split(' ').skip(1);
    let mut number = || {
        words
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap_or_else(|e| panic!("{message:?}: {e}"))
    };
    let no = u32::try_from(number()).unwrap();
    (no, number())
}
