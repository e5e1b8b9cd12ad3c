//! A client that follows the published list of addresses, whoever leads, and never repeats a request.

use crate::support::{Cluster, answers};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the list is read: half of what web procs are drained for would do.
const READ_EVERY: Duration = Duration::from_millis(100);
/// Clients that send side by side.
const CLIENTS: usize = 4;

/// The list, and who uses it.
pub struct Strict {
    stop: Arc<AtomicBool>,
    list: Arc<Mutex<Vec<(String, u64)>>>,
    follower: JoinHandle<()>,
    clients: Vec<JoinHandle<(u32, Vec<String>)>>,
}

impl Strict {
    /// Begins to send requests to an app's addresses, as any of these control hosts has them.
    pub fn on(cluster: &Cluster, app: &str, controls: &[usize]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let list = Arc::new(Mutex::new(Vec::new()));
        let urls: Vec<PathBuf> = controls.iter().map(|n| cluster.ready_file(*n)).collect();
        let token = std::fs::read_to_string(cluster.token()).unwrap();
        let path = format!("/api/v1/apps/{app}/endpoints");
        let (published, ends) = (Arc::clone(&list), Arc::clone(&stop));
        let follower = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                // While nobody leads, the list is what it was.
                let read = urls.iter().find_map(|url| read(url, &path, token.trim()));
                if let Some(now) = read {
                    *published.lock().unwrap() = now;
                }
                std::thread::sleep(READ_EVERY);
            }
        });
        cluster.until("the list is there", || !list.lock().unwrap().is_empty());
        let client = |number: usize| {
            let (list, stop) = (Arc::clone(&list), Arc::clone(&stop));
            std::thread::spawn(move || {
                let (mut sent, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let list: Vec<(String, u64)> = list.lock().unwrap().clone();
                    let (address, version) = &list[(sent as usize * CLIENTS + number) % list.len()];
                    sent += 1;
                    if !answers(address) {
                        failed.push(format!("{address} (version {version}) of {list:?}"));
                    }
                    std::thread::sleep(Duration::from_millis(40));
                }
                (sent, failed)
            })
        };
        Self {
            clients: (0..CLIENTS).map(client).collect(),
            list,
            stop,
            follower,
        }
    }

    /// The versions in the list as it was last read.
    pub fn versions(&self) -> Vec<u64> {
        self.list.lock().unwrap().iter().map(|one| one.1).collect()
    }

    /// Ends it: how many requests there were, and those that failed.
    pub fn stop(self) -> (u32, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.follower.join().unwrap();
        let (mut sent, mut failed) = (0, Vec::new());
        for client in self.clients {
            let (one, bad) = client.join().unwrap();
            sent += one;
            failed.extend(bad);
        }
        (sent, failed)
    }
}

/// The list as a control host has it; nothing while it does not answer.
fn read(ready: &PathBuf, path: &str, token: &str) -> Option<Vec<(String, u64)>> {
    let url = std::fs::read_to_string(ready).ok()?;
    let host = url.trim().strip_prefix("http://")?;
    let mut stream = TcpStream::connect_timeout(&host.parse().ok()?, READ_EVERY).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.1 200") {
        return None;
    }
    // The body may come in chunks, whose sizes stand around it.
    let body = &body[body.find('{')?..=body.rfind('}')?];
    let page: Value = serde_json::from_str(body).ok()?;
    let items = page["items"].as_array()?.iter();
    let all =
        items.filter_map(|e| Some((e["address"].as_str()?.to_owned(), e["version"].as_u64()?)));
    let all: Vec<(String, u64)> = all.collect();
    (!all.is_empty()).then_some(all)
}
