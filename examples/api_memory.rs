//! Serves the API over a control host in memory, for schemathesis and for clients under test.
//!
//! `cargo run --example api_memory -- 127.0.0.1:0` prints the address and a token, and serves until it
//! is ended. It holds two apps, which come back when they are removed; no container runs.

use lain::domain::id::{AppName, InstanceId};
use lain::domain::view::{DeployRequest, LogLineView};
use lain::ports::auth::Scope;
use lain::ports::control::{Caller, Control, Precondition};
use lain::web::testing::{MemoryControl, MemoryTokens};
use lain::web::{Limits, Metrics, WebOptions, serve};
use std::sync::Arc;
use std::time::Duration;

const APPS: [&str; 2] = ["hello", "shop"];
const TOKEN: &str = "in-memory-token";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let control = Arc::new(MemoryControl::new());
    for name in APPS {
        deploy(&control, name).await?;
    }
    tokio::spawn(keep(Arc::clone(&control)));
    let limits = Limits {
        rate: 100_000,
        burst: 100_000,
        refusals: 100_000,
        // Streams end soon, so that a client which reads to the end comes to it.
        stream_life: Duration::from_millis(200),
        ..Limits::default()
    };
    let options = WebOptions {
        listen: listen.parse()?,
        limits,
        ..WebOptions::default()
    };
    let tokens = MemoryTokens::new().with(TOKEN, "admin", vec![Scope::Admin]);
    let metrics = Arc::new(Metrics::new());
    let mut running = serve(options, control, Arc::new(tokens), metrics)?;
    println!("http://{} {TOKEN}", running.addr);
    running.ended().await?;
    Ok(())
}

/// Deploys again what was removed, so that there is always something to ask about.
async fn keep(control: Arc<MemoryControl>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for name in APPS {
            // An app that exists is refused, as nothing says which revision to replace.
            let _ = deploy(&control, name).await;
        }
    }
}

async fn deploy(control: &MemoryControl, name: &str) -> anyhow::Result<()> {
    let request = DeployRequest {
        lain_yaml: format!(
            "appname: {name}\nweb:\n  image: {name}\n  num_instances: 2\nworker.queue:\n  image: {name}\n  cmd: work\n"
        ),
        file_name: "lain.yaml".to_owned(),
        meta_version: None,
        image: None,
        canary: None,
    };
    let caller = Caller {
        name: "example".to_owned(),
        from: "here".to_owned(),
    };
    let app = AppName::new(name)?;
    let deployed = control.deploy(&app, request, Precondition::None, false, caller);
    deployed.await?;
    let instance: InstanceId = format!("{name}.web.web.i1").parse()?;
    control.crash_instance(&instance)?;
    control.write_line(LogLineView {
        at: chrono::Utc::now(),
        instance: instance.to_string(),
        stream: "stdout".to_owned(),
        line: "listening".to_owned(),
    });
    Ok(())
}
