//! Vector's HTTP form: a receiver that decodes as Vector's `http_server` does, with `encoding: json`.

use super::world::{Seen, World, parse};
use lain::domain::log::Stamp;
use lain::logging::event::decode;
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// What a receiver keeps and how it answers.
#[derive(Default)]
struct Receiver {
    events: Mutex<Vec<serde_json::Value>>,
    raw: Mutex<Vec<u8>>,
    requests: AtomicU32,
}

/// Serves until the process ends; every third request is told to come again, some others are too large.
fn serve(receiver: Arc<Receiver>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
            let handler = |receiver: web::Data<Receiver>,
                           request: HttpRequest,
                           body: web::Bytes| async move {
                let n = receiver.requests.fetch_add(1, Ordering::Relaxed);
                match n % 7 {
                    2 => return HttpResponse::ServiceUnavailable().finish(),
                    4 if body.len() > 2000 => return HttpResponse::PayloadTooLarge().finish(),
                    _ => {}
                }
                assert!(
                    request
                        .headers()
                        .get("content-encoding")
                        .is_some_and(|v| v == "gzip")
                );
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(&body[..])
                    .read_to_end(&mut text)
                    .unwrap();
                for event in decode::lines(&text, Stamp(0)).unwrap() {
                    let mut object = event.object;
                    object.insert("path".to_owned(), request.path().into());
                    receiver.events.lock().unwrap().push(object.into());
                }
                receiver.raw.lock().unwrap().extend_from_slice(&text);
                HttpResponse::Ok().finish()
            };
            let data = web::Data::from(receiver);
            let app = move || {
                App::new()
                    .app_data(data.clone())
                    .app_data(web::PayloadConfig::new(64 << 20))
                    .default_service(web::to(handler))
            };
            HttpServer::new(app)
                .workers(1)
                .listen(listener)
                .unwrap()
                .run()
                .await
                .unwrap();
        });
    });
    port
}

#[test]
fn row_v9_our_lines_through_a_json_receiver_are_the_same_objects() {
    let receiver = Arc::new(Receiver::default());
    let port = serve(Arc::clone(&receiver));
    let sink = format!(
        "[[logging.sink]]\nname = \"v\"\ntype = \"http\"\nurl = \"http://127.0.0.1:{port}/in\"\nretry_max = \"1s\"\nbatch_events = 300\n"
    );
    let mut world = World::new(2, &sink);
    world.write(1000);
    world.start();
    let seen = || -> Vec<Seen> {
        let events = receiver.events.lock().unwrap();
        events
            .iter()
            .map(|e| parse(e["message"].as_str().unwrap()))
            .collect()
    };
    world.all_arrive(seen);
    let raw = receiver.raw.lock().unwrap();
    let events = receiver.events.lock().unwrap();
    for (line, event) in raw
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .zip(events.iter())
    {
        let mut object = event.as_object().unwrap().clone();
        assert_eq!(
            object.remove("path").unwrap(),
            "/in",
            "the receiver adds its path, and nothing else"
        );
        assert_eq!(serde_json::to_vec(&object).unwrap(), line, "the same text");
        assert_eq!(object["source_type"], "docker_logs");
    }
}
