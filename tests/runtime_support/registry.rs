//! A registry with one image, as far as a pull goes (Docker Registry HTTP API V2).

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

struct Image {
    manifest: Vec<u8>,
    blobs: [Vec<u8>; 2],
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Image {
    fn new() -> Self {
        // An empty tar archive. The name makes the image unlike that of any other test.
        let layer = vec![0; 1024];
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/nothing"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "created": chrono::Utc::now().to_rfc3339(),
        });
        let config = config.to_string().into_bytes();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(), "digest": digest(&config),
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "size": layer.len(), "digest": digest(&layer),
            }],
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            blobs: [config, layer],
        }
    }

    fn answer(&self, path: &str) -> HttpResponse {
        if path.ends_with("/manifests/1") || path.ends_with(&digest(&self.manifest)) {
            return HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, MANIFEST))
                .insert_header(("Docker-Content-Digest", digest(&self.manifest)))
                .body(self.manifest.clone());
        }
        match self.blobs.iter().find(|blob| path.ends_with(&digest(blob))) {
            Some(blob) => HttpResponse::Ok().body(blob.clone()),
            None if path == "/v2/" => HttpResponse::Ok().finish(),
            None => HttpResponse::NotFound().finish(),
        }
    }
}

/// A running registry. Ends with the test.
pub struct Registry {
    /// Where it listens, such as `127.0.0.1:5000`.
    pub address: String,
    stop: Option<(actix_web::dev::ServerHandle, std::thread::JoinHandle<()>)>,
}

impl Registry {
    pub fn start() -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let image = web::Data::new(Image::new());
                let server = HttpServer::new(move || {
                    let answer = |image: web::Data<Image>, request: HttpRequest| async move {
                        image.answer(request.path())
                    };
                    App::new()
                        .app_data(image.clone())
                        .default_service(web::to(answer))
                });
                let server = server
                    .workers(1)
                    .disable_signals()
                    .bind("127.0.0.1:0")
                    .unwrap();
                let address = server.addrs()[0].to_string();
                let server = server.run();
                tell.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = told.recv().unwrap();
        Self {
            address,
            stop: Some((handle, thread)),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some((handle, thread)) = self.stop.take() {
            // The stop is only asked for here; its thread carries it out.
            drop(handle.stop(false));
            let _ = thread.join();
        }
    }
}
