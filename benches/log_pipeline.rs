//! What a million events cost: container file → spool, spool → TCP (syslog), spool → Kafka, beside rsyslog from the
//! same file to the same TCP receiver, to a file, and through a disk-assisted queue, and beside bare librdkafka, in
//! the same run; and what a sink that is down costs another one.
//!
//! `cargo bench --bench log_pipeline [-- EVENTS]`. rsyslog and Kafka take part where `scripts/rsyslog.sh install` and
//! `scripts/kafka.sh install` have been run. CPU is that of the process at work, user and system; receivers are
//! processes of their own and not counted.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use lain::config::{Config, FileSource, Sources};
use lain::domain::log::{DOCKER, LogSource, Stamp};
use lain::logging::event::Encoder;
use lain::logging::pipe::{Host, Pipeline};
use lain::logging::setup;
use lain::logging::sources::container::{ContainerReader, Round};
use lain::ports::clock::SystemClock;
use lain::ports::runtime::{LogFormat, LogOrigin};
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The receiver as a process of its own: reads and forgets, and says how much when asked.
const RECEIVER: &str = "LAIN_BENCH_RECEIVER";

fn main() {
    if std::env::var_os(RECEIVER).is_some() {
        return receive();
    }
    let events: u64 = std::env::args()
        .skip(1)
        .find_map(|a| a.parse().ok())
        .unwrap_or(1_000_000);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x-json.log");
    write_lines(&file, events);
    println!("{events} lines of 149 bytes; CPU seconds per million, and events a second\n");
    println!("| what | CPU s/M | events/s |");
    println!("|---|---|---|");

    let bare = dir.path().join("bare");
    let spooled = to_spool(&bare, &file, events, "");
    row("container file → spool", events, spooled);

    let receiver = Receiver::start();
    let sink = format!(
        "[[logging.sink]]\nname = \"s\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{}\"\n",
        receiver.port
    );
    let sent = from_spool(&bare, &sink, events);
    row("spool → TCP (syslog)", events, sent);
    row(
        "container file → spool → TCP, the sum",
        events,
        (spooled.0 + sent.0, Duration::ZERO),
    );

    let receiver = Receiver::start();
    let sink = format!(
        "[[logging.sink]]\nname = \"s\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{}\"\n",
        receiver.port
    );
    let both = to_spool(&dir.path().join("both"), &file, events, &sink);
    row(
        "container file → spool → TCP, at the same time",
        events,
        both,
    );

    let plain = dir.path().join("plain.log");
    write_plain(&plain, events);
    for (what, file, queue, target) in [
        (
            "rsyslog, plain lines → TCP, its own format",
            &plain,
            QUEUE,
            Target::Tcp("RSYSLOG_ForwardFormat"),
        ),
        (
            "rsyslog, plain lines → TCP, RFC 5424",
            &plain,
            QUEUE,
            Target::Tcp("RSYSLOG_SyslogProtocol23Format"),
        ),
        (
            "rsyslog, plain lines → disk-assisted queue → TCP, its own format",
            &plain,
            DISK_ASSISTED,
            Target::Tcp("RSYSLOG_ForwardFormat"),
        ),
        (
            "rsyslog, plain lines → file",
            &plain,
            QUEUE,
            Target::File("RSYSLOG_FileFormat"),
        ),
        (
            "rsyslog, the container file → TCP, RFC 5424",
            &file,
            QUEUE,
            Target::Tcp("RSYSLOG_SyslogProtocol23Format"),
        ),
    ] {
        match rsyslog(dir.path(), file, events, queue, target) {
            Some(cost) => row(what, events, cost),
            None => println!("| {what} | not installed | |"),
        }
    }
    kafka(dir.path(), &bare, events);
    let file_sink = format!(
        "[[logging.sink]]\nname = \"f\"\ntype = \"file\"\npath = \"{}\"\nmax_size = \"10GiB\"\n",
        dir.path().join("out.ndjson").display()
    );
    row(
        "spool → file of JSON lines",
        events,
        from_spool(&bare, &file_sink, events),
    );
    one_down(dir.path(), &file, events);
}

/// What a sink that is down costs another one, when as many events wait for it as the other one then gets.
fn one_down(dir: &Path, file: &Path, events: u64) {
    println!("\n| file → spool → TCP | CPU s/M | events/s |");
    println!("|---|---|---|");
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..3 {
        for down in [false, true] {
            let receiver = Receiver::start();
            let mut sinks = format!(
                "[[logging.sink]]\nname = \"a\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{}\"\n",
                receiver.port
            );
            if down {
                sinks.push_str(&format!(
                    "[[logging.sink]]\nname = \"down\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{closed}\"\n"
                ));
            }
            let folder = dir.join(format!("down-{round}-{down}"));
            let cost = second_helping(&folder, file, events, &sinks);
            std::fs::remove_dir_all(&folder).unwrap();
            match down {
                true => beside.push(cost),
                false => alone.push(cost),
            }
        }
    }
    let middle = |costs: &mut Vec<(f64, Duration)>| {
        costs.sort_by_key(|(_, wall)| *wall);
        costs[costs.len() / 2]
    };
    let (alone, beside) = (middle(&mut alone), middle(&mut beside));
    row("no other sink", events, alone);
    row(
        "another sink is down, and as many events wait for it",
        events,
        beside,
    );
    let less = 1.0 - alone.1.as_secs_f64() / beside.1.as_secs_f64();
    println!(
        "\nthe sink that is down costs the other one {:.1}% of its throughput",
        less * 100.0
    );
}

/// Events once, so that they wait for whoever is down; then, measured, as many again until sink `a` has them all.
fn second_helping(dir: &Path, file: &Path, events: u64, sinks: &str) -> (f64, Duration) {
    let pipeline = pipeline(dir, sinks);
    drive(&pipeline);
    let mut cost = (0.0, Duration::ZERO);
    for helping in 1..=2 {
        let source = Arc::new(LogSource {
            container_id: format!("{helping}").repeat(64),
            ..(*source()).clone()
        });
        let (before, began) = (cpu(), Instant::now());
        read(&pipeline, &mut reader(&pipeline, &source, file));
        while pipeline.sink("a").unwrap().view(&pipeline).sent < helping * events {
            std::thread::sleep(Duration::from_millis(5));
        }
        cost = (cpu() - before, began.elapsed());
    }
    cost
}

fn row(what: &str, events: u64, (cpu, wall): (f64, Duration)) {
    let rate = match wall.is_zero() {
        true => String::new(),
        false => format!("{:.0}", events as f64 / wall.as_secs_f64()),
    };
    println!("| {what} | {:.2} | {rate} |", cpu * 1e6 / events as f64);
}

/// CPU seconds of a process so far.
fn cpu_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn cpu() -> f64 {
    cpu_of(std::process::id())
}

fn message(n: u64) -> String {
    let text = format!(
        "INFO request {n} GET /api/v1/items?page={} 200 {}ms ",
        n % 977,
        n % 313
    );
    format!("{text:-<149}")
}

fn write_lines(path: &Path, events: u64) {
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    for n in 0..events {
        let at = Stamp(1_740_816_000_000_000_000 + n.cast_signed() * 1_000_123);
        writeln!(
            out,
            "{{\"log\":\"{}\\n\",\"stream\":\"stdout\",\"time\":\"{at}\"}}",
            message(n)
        )
        .unwrap();
    }
    out.flush().unwrap();
}

/// The same lines as an application writes them, without an engine's JSON around them.
fn write_plain(path: &Path, events: u64) {
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    for n in 0..events {
        writeln!(out, "{}", message(n)).unwrap();
    }
    out.flush().unwrap();
}

fn source() -> Arc<LogSource> {
    Arc::new(LogSource {
        source_type: DOCKER.to_owned(),
        host: "n1.example".to_owned(),
        node: "n1".to_owned(),
        app: "shop".to_owned(),
        proc_type: "web".to_owned(),
        proc: "front".to_owned(),
        instance: 1,
        revision: 3,
        container_id: "0123456789abcdef".repeat(4),
        container_name: "shop.web.front.v3-i1-d0".to_owned(),
        container_created_at: Some(Stamp(1_740_815_000_000_000_000)),
        image: "registry.example/shop:release-1740815000-abcdef".to_owned(),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
        file: None,
    })
}

fn pipeline(dir: &Path, sinks: &str) -> Arc<Pipeline> {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("lain.toml"), sinks).unwrap();
    let mut sources = Sources::isolated(&dir.join("data"));
    sources.files.push(FileSource {
        path: dir.join("lain.toml"),
        required: true,
    });
    let config = Config::load(&sources).unwrap();
    let clock = Arc::new(SystemClock::new());
    let plan = setup::plan(&config.lists, &setup::secrets(&config), None);
    setup::pipeline(&config, Host::default(), clock, plan)
        .unwrap()
        .unwrap()
}

fn drive(pipeline: &Arc<Pipeline>) {
    for sink in pipeline.sinks() {
        let pipeline = Arc::clone(pipeline);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(sink.run(&pipeline)).unwrap();
        });
    }
}

/// Until every sink has everything.
fn until_sent(pipeline: &Pipeline, events: u64) {
    let mut synced = Instant::now();
    while pipeline.views().iter().any(|view| view.sent < events) {
        std::thread::sleep(Duration::from_millis(5));
        if synced.elapsed() > Duration::from_millis(500) {
            pipeline.spool.sync().unwrap();
            synced = Instant::now();
        }
    }
}

/// Reads the file as that of a container.
fn reader(pipeline: &Arc<Pipeline>, source: &Arc<LogSource>, file: &Path) -> ContainerReader {
    let origin = LogOrigin {
        created_at: None,
        image: String::new(),
        labels: source.labels.clone(),
        file: Some((file.to_owned(), LogFormat::DockerJson)),
    };
    ContainerReader::open(pipeline, source, &origin, &[], 20)
}

/// To its end, with the syncs that a node makes meanwhile.
fn read(pipeline: &Pipeline, reader: &mut ContainerReader) {
    let mut synced = Instant::now();
    while reader.round().unwrap() != Round::End {
        if synced.elapsed() > Duration::from_millis(500) {
            pipeline.spool.sync().unwrap();
            synced = Instant::now();
        }
    }
}

/// Reads the file into a spool in `dir`, with the syncs that a node makes; waits for the sinks, if there are any.
fn to_spool(dir: &Path, file: &Path, events: u64, sinks: &str) -> (f64, Duration) {
    let pipeline = pipeline(dir, sinks);
    let (before, began) = (cpu(), Instant::now());
    let mut reader = reader(&pipeline, &source(), file);
    drive(&pipeline);
    read(&pipeline, &mut reader);
    pipeline.spool.sync().unwrap();
    until_sent(&pipeline, events);
    let cost = (cpu() - before, began.elapsed());
    assert_eq!(pipeline.figures().events, events);
    cost
}

/// Sends what is in the spool.
fn from_spool(dir: &Path, sinks: &str, events: u64) -> (f64, Duration) {
    let _ = std::fs::remove_dir_all(dir.join("data/logs/cursors"));
    let pipeline = pipeline(dir, sinks);
    let (before, began) = (cpu(), Instant::now());
    drive(&pipeline);
    until_sent(&pipeline, events);
    (cpu() - before, began.elapsed())
}

/// The receiver, ended with the value.
struct Receiver {
    child: Child,
    port: u16,
}

impl Receiver {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let child = command
            .env(RECEIVER, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }

    /// How many bytes have come so far.
    fn bytes(&mut self) -> u64 {
        self.child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        let mut answer = [0; 8];
        self.child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut answer)
            .unwrap();
        u64::from_le_bytes(answer)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn receive() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static BYTES: AtomicU64 = AtomicU64::new(0);
    let listener =
        TcpListener::bind(format!("127.0.0.1:{}", std::env::var(RECEIVER).unwrap())).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    BYTES.fetch_add(n as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let mut byte = [0];
    while std::io::stdin().read_exact(&mut byte).is_ok() {
        std::io::stdout()
            .write_all(&BYTES.load(Ordering::Relaxed).to_le_bytes())
            .unwrap();
        std::io::stdout().flush().unwrap();
    }
}

/// Where rsyslog sends, and by which template. Its own formats are made by C code of its own; RFC 5424's, which is
/// what lain sends, property by property.
#[derive(Clone, Copy)]
enum Target {
    Tcp(&'static str),
    File(&'static str),
}

/// A queue as an operator sets it for throughput: large, emptied in large batches by one thread, which keeps the order.
const QUEUE: &str = "queue.type=\"FixedArray\" queue.size=\"100000\" queue.dequeueBatchSize=\"1024\" queue.workerThreads=\"1\"";
/// The same, over to the disk when it is full and at the end: what is nearest to a spool.
const DISK_ASSISTED: &str = "queue.type=\"LinkedList\" queue.filename=\"q\" queue.size=\"100000\" queue.dequeueBatchSize=\"1024\" queue.workerThreads=\"1\" queue.maxDiskSpace=\"4g\" queue.saveOnShutdown=\"on\"";

/// rsyslog from a file to a receiver of the same kind, or to a file.
fn rsyslog(
    dir: &Path,
    file: &Path,
    events: u64,
    queue: &str,
    target: Target,
) -> Option<(f64, Duration)> {
    let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"]
        .into_iter()
        .find(|p| Path::new(p).exists())?;
    let mut receiver = Receiver::start();
    let folder = dir.join("rsyslog");
    // What a run before noted of the file.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let out = folder.join("out.log");
    let action = match target {
        Target::Tcp(template) => format!(
            "type=\"omfwd\" target=\"127.0.0.1\" port=\"{}\" protocol=\"tcp\" tcp_framing=\"octet-counted\" template=\"{template}\"",
            receiver.port
        ),
        Target::File(template) => format!(
            "type=\"omfile\" file=\"{}\" asyncWriting=\"on\" flushOnTXEnd=\"off\" ioBufferSize=\"64k\" template=\"{template}\"",
            out.display()
        ),
    };
    let config = format!(
        "global(workDirectory=\"{0}\" senders.keepTrack=\"off\")\nmodule(load=\"imfile\" mode=\"inotify\")\n\
         input(type=\"imfile\" file=\"{1}\" tag=\"shop\" severity=\"info\" facility=\"local0\" ruleset=\"out\")\n\
         ruleset(name=\"out\" {queue}) {{ action({action}) }}\n",
        folder.display(),
        file.display(),
    );
    std::fs::write(folder.join("rsyslog.conf"), config).unwrap();
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(["-n", "-f"])
        .arg(folder.join("rsyslog.conf"))
        .arg("-i")
        .arg(folder.join("pid"))
        .spawn()
        .unwrap();
    // Each message is the file's line with a header before it.
    let least = std::fs::metadata(file).unwrap().len() + events * 40;
    let (mut last, mut since) = (0, Instant::now());
    let mut wall = Duration::ZERO;
    while since.elapsed() < Duration::from_secs(2) {
        let bytes = match target {
            Target::Tcp(_) => receiver.bytes(),
            Target::File(_) => std::fs::metadata(&out).map_or(0, |m| m.len()),
        };
        if bytes != last {
            (last, since, wall) = (bytes, Instant::now(), began.elapsed());
        }
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "rsyslog sent {last} of {least} bytes"
        );
        if last == 0 {
            since = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let cost = cpu_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        last + (1 << 20) > least,
        "rsyslog sent {last} of {least} bytes"
    );
    Some((cost, wall))
}

/// The pipeline to Kafka, beside librdkafka alone with the same texts.
fn kafka(dir: &Path, spool: &Path, events: u64) {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = home.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")
    });
    let mut found = std::fs::read_dir(cache.join("lain-servers"))
        .into_iter()
        .flatten()
        .flatten();
    if !found.any(|e| e.path().join(".complete").exists()) {
        println!("| Kafka | not installed | |");
        return;
    }
    let port = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    };
    let (broker, controller) = (port(), port());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka.sh");
    let mut server = Command::new(script)
        .arg("run")
        .arg(dir.join("kafka"))
        .args([broker.to_string(), controller.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", broker)).is_err() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let brokers = format!("127.0.0.1:{broker}");
    let sink =
        format!("[[logging.sink]]\nname = \"k\"\ntype = \"kafka\"\nbrokers = \"{brokers}\"\n");
    row("spool → Kafka", events, from_spool(spool, &sink, events));
    row(
        "bare librdkafka, the same texts and headers",
        events,
        bare_kafka(&brokers, events),
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

fn bare_kafka(brokers: &str, events: u64) -> (f64, Duration) {
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
    let producer: ThreadedProducer<DefaultProducerContext> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .create()
        .unwrap();
    let source = source();
    let mut encoder = Encoder::default();
    let mut event = lain::domain::log::LogEvent {
        source: Arc::clone(&source),
        at: Stamp(0),
        seq: 0,
        ordinal: 0,
        body: lain::domain::log::LogBody::Object(bytes::Bytes::new()),
    };
    // Made before the clock starts: only librdkafka is measured.
    let texts: Vec<Vec<u8>> = (0..1000)
        .map(|n| {
            event.body = lain::domain::log::LogBody::Line {
                stream: lain::domain::log::Stream::Stdout,
                level: None,
                truncated: false,
                message: message(n).into_bytes().into(),
            };
            (event.seq, event.at) = (
                n,
                Stamp(1_740_816_000_000_000_000 + n.cast_signed() * 1_000_123),
            );
            let mut out = Vec::new();
            encoder.encode(&event, &mut out);
            out
        })
        .collect();
    let (before, began) = (cpu(), Instant::now());
    for n in 0..events {
        let text = &texts[(n % 1000) as usize];
        loop {
            let headers = OwnedHeaders::new_with_capacity(2)
                .insert(Header {
                    key: "content-type",
                    value: Some("application/json"),
                })
                .insert(Header {
                    key: "event_id",
                    value: Some("0123456789abcdef0123456789abcdef-0"),
                });
            let record = BaseRecord::to("bare")
                .key("shop.web.front.1")
                .payload(text.as_slice())
                .headers(headers);
            match producer.send(record) {
                Ok(()) => break,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    (cpu() - before, began.elapsed())
}
