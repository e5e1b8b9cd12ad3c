//! The pipeline as a process that can be killed: containers' files → spool → the sinks of a configuration.

use lain::config::{Config, FileSource, Sources};
use lain::domain::log::{DOCKER, LogSource};
use lain::logging::pipe::{Host, Pipeline};
use lain::logging::setup;
use lain::logging::sources::container::{ContainerReader, Round};
use lain::ports::clock::SystemClock;
use lain::ports::runtime::{LogFormat, LogOrigin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Says that this process is the pipeline, and where its folder is.
pub const FOLDER: &str = "PIPELINE_FOLDER";

/// Not a test: the program that the tests start. Does nothing when the tests themselves are run.
#[test]
fn pipeline() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    run(Path::new(&folder));
}

/// `instances/<app>.<n>/<id>-json.log` are the containers.
fn run(folder: &Path) {
    let mut sources = Sources::isolated(&folder.join("data"));
    sources.files.push(FileSource {
        path: folder.join("lain.toml"),
        required: true,
    });
    let config = Config::load(&sources).unwrap();
    let host = Host {
        host: "n1.example".to_owned(),
        node: "n1".to_owned(),
    };
    let plan = setup::plan(&config.lists, &setup::secrets(&config), None);
    let pipeline = setup::pipeline(&config, host, Arc::new(SystemClock::new()), plan)
        .unwrap()
        .unwrap();
    for sink in pipeline.sinks() {
        let pipeline = Arc::clone(&pipeline);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let ended = runtime.block_on(sink.run(&pipeline));
            eprintln!("sink {} ended: {ended:?}", sink.spec.name);
        });
    }
    let mut instances: Vec<PathBuf> = std::fs::read_dir(folder.join("instances"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    instances.sort();
    for path in instances {
        let pipeline = Arc::clone(&pipeline);
        std::thread::spawn(move || read(&pipeline, &path));
    }
    loop {
        std::thread::sleep(Duration::from_millis(200));
        pipeline.spool.sync().unwrap();
        pipeline.trim().unwrap();
        let views = serde_json::to_vec_pretty(&pipeline.views()).unwrap();
        std::fs::write(folder.join("sinks.json.new"), views).unwrap();
        std::fs::rename(folder.join("sinks.json.new"), folder.join("sinks.json")).unwrap();
    }
}

fn read(pipeline: &Arc<Pipeline>, folder: &Path) {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let (app, no) = name.rsplit_once('.').unwrap();
    let source = Arc::new(LogSource {
        source_type: DOCKER.to_owned(),
        host: "n1.example".to_owned(),
        node: "n1".to_owned(),
        app: app.to_owned(),
        proc_type: "web".to_owned(),
        proc: "front".to_owned(),
        instance: no.parse().unwrap(),
        revision: 1,
        container_id: format!("{name:0>64}"),
        container_name: name.to_owned(),
        container_created_at: None,
        image: "shop:1".to_owned(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        file: None,
    });
    let origin = LogOrigin {
        created_at: None,
        image: "shop:1".to_owned(),
        labels: source.labels.clone(),
        file: Some((folder.join("x-json.log"), LogFormat::DockerJson)),
    };
    let mut reader = ContainerReader::open(pipeline, &source, &origin, &[], 20);
    loop {
        if !reader.has_news() || reader.round().unwrap() != Round::More {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
