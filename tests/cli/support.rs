//! A server that answers from a script, and the real binary run against it.

use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, Data, Payload, PayloadConfig, to};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt};
use futures_util::StreamExt;
use serde::Serialize;
use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The token that the server wants.
pub const TOKEN: &str = "secret-token-of-the-tests";

/// One answer.
#[derive(Clone)]
pub enum Answer {
    /// A status, headers and a body.
    Plain(u16, Vec<(&'static str, String)>, String),
    /// Server-sent events; then the stream ends, or breaks off, or stays open.
    Stream(Vec<String>, Then),
    /// A WebSocket whose far end is this little program.
    Socket(Program),
}

/// What follows the last event of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It ends.
    End,
    /// The connection breaks in the middle.
    Break,
    /// It stays open.
    Stay,
}

/// What the far end of a WebSocket does.
#[derive(Clone)]
pub enum Program {
    /// Sends stdin back in capitals on stdout, `err` on stderr, and exits with this code at its end.
    Shout(u8),
    /// Says which resizes it got, and exits 0 at the first `q`.
    Sizes,
    /// Sends this text and closes.
    Say(String),
    /// Closes at once.
    Close,
}

/// A JSON answer.
pub fn json(status: u16, body: impl Serialize) -> Answer {
    let body = serde_json::to_string(&body).unwrap();
    Answer::Plain(
        status,
        vec![("content-type", "application/json".to_owned())],
        body,
    )
}

/// A problem of RFC 9457.
pub fn problem(status: u16, detail: &str) -> Answer {
    let body = serde_json::json!({
        "type": "about:blank", "title": "Refused", "status": status, "detail": detail,
        "instance": "/api/v1/x", "request_id": "req-1",
    });
    let header = ("content-type", "application/problem+json".to_owned());
    Answer::Plain(status, vec![header], body.to_string())
}

/// A page of a list.
pub fn page(items: impl Serialize) -> serde_json::Value {
    serde_json::json!({ "items": items })
}

/// An event of a stream.
pub fn event(id: Option<u64>, name: Option<&str>, data: impl Serialize) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let name = name
        .map(|name| format!("event: {name}\n"))
        .unwrap_or_default();
    format!(
        "{id}{name}data: {}\n\n",
        serde_json::to_string(&data).unwrap()
    )
}

/// A request as the server saw it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Seen {
    /// `GET /api/v1/apps?limit=500`.
    pub fn line(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, self.query)
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Script {
    answers: HashMap<(String, String), Vec<Answer>>,
    seen: Vec<Seen>,
}

/// The server. Stops when dropped.
pub struct Fake {
    pub url: String,
    script: Arc<Mutex<Script>>,
    handle: ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    /// A server on a free port of the loopback interface, without any answer but 404.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// The same at this address.
    pub fn start_at(address: &str) -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Data::new(script.clone());
        let address = address.to_owned();
        let (send, receive) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(shared.clone())
                        .app_data(PayloadConfig::new(4 << 20))
                        .default_service(to(answer))
                })
                .workers(1)
                .disable_signals()
                .shutdown_timeout(0)
                .bind(&address)
                .unwrap();
                let url = format!("http://{}", server.addrs()[0]);
                let server = server.run();
                send.send((url, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (url, handle) = receive.recv().unwrap();
        let thread = Some(thread);
        Self {
            url,
            script,
            handle,
            thread,
        }
    }

    /// Answers this request so. Several answers for one request come in turn; the last one stays.
    pub fn on(self, method: &str, path: &str, answer: Answer) -> Self {
        self.add(method, path, answer);
        self
    }

    /// The same, later.
    pub fn add(&self, method: &str, path: &str, answer: Answer) {
        let key = (method.to_owned(), format!("/api/v1/{path}"));
        self.script
            .lock()
            .unwrap()
            .answers
            .entry(key)
            .or_default()
            .push(answer);
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.script.lock().unwrap().seen.clone()
    }

    /// Every request so far, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    /// The last request of this method.
    pub fn last(&self, method: &str) -> Seen {
        self.seen()
            .into_iter()
            .rfind(|seen| seen.method == method)
            .unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer(
    request: HttpRequest,
    mut payload: Payload,
    script: Data<Arc<Mutex<Script>>>,
) -> HttpResponse {
    let upgrade = request.headers().contains_key("upgrade");
    let mut seen = Seen {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        ..Seen::default()
    };
    for (name, value) in request.headers() {
        seen.headers
            .insert(name.to_string(), value.to_str().unwrap().to_owned());
    }
    if !upgrade {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            body.extend_from_slice(&chunk.unwrap());
        }
        seen.body = String::from_utf8(body).unwrap();
    }
    let answer = {
        let mut script = script.lock().unwrap();
        let authorised = seen.headers.get("authorization") == Some(&format!("Bearer {TOKEN}"));
        let key = (seen.method.clone(), seen.path.clone());
        script.seen.push(seen);
        match script.answers.get_mut(&key) {
            _ if !authorised => problem(401, "no token, or not a valid one"),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => problem(404, &format!("nothing at {}", key.1)),
        }
    };
    respond(answer, &request, payload).await
}

async fn respond(answer: Answer, request: &HttpRequest, payload: Payload) -> HttpResponse {
    match answer {
        Answer::Plain(status, headers, body) => {
            let mut response = HttpResponse::build(status.try_into().unwrap());
            for header in headers {
                response.insert_header(header);
            }
            response.body(body)
        }
        Answer::Stream(events, then) => {
            let events = events
                .into_iter()
                .map(|event| Ok::<_, std::io::Error>(Bytes::from(event)));
            let events = futures_util::stream::iter(events);
            let mut response = HttpResponse::Ok();
            response.content_type("text/event-stream");
            match then {
                Then::End => response.streaming(events),
                Then::Stay => response.streaming(events.chain(futures_util::stream::pending())),
                Then::Break => {
                    // The events are on their way before the connection goes.
                    let end = futures_util::stream::once(async {
                        rt::time::sleep(Duration::from_millis(100)).await;
                        Err(std::io::Error::other("broken"))
                    });
                    response.streaming(events.chain(end))
                }
            }
        }
        Answer::Socket(program) => {
            let (response, session, stream) = actix_ws::handle(request, payload).unwrap();
            rt::spawn(play(program, session, stream));
            response
        }
    }
}

async fn play(
    program: Program,
    mut session: actix_ws::Session,
    mut stream: actix_ws::MessageStream,
) {
    match program {
        Program::Close => {}
        Program::Say(text) => session.text(text).await.unwrap(),
        Program::Shout(code) => {
            while let Some(Ok(message)) = stream.next().await {
                match message {
                    actix_ws::Message::Binary(bytes) => {
                        let mut out = vec![1];
                        out.extend(bytes.to_ascii_uppercase());
                        session.binary(out).await.unwrap();
                    }
                    actix_ws::Message::Text(text) if text.contains("close_stdin") => break,
                    _ => {}
                }
            }
            session.binary(b"\x02err\n".to_vec()).await.unwrap();
            let exit = format!(r#"{{"type":"exit","code":{code}}}"#);
            session.text(exit).await.unwrap();
        }
        Program::Sizes => {
            while let Some(Ok(message)) = stream.next().await {
                match message {
                    actix_ws::Message::Binary(bytes) if bytes.contains(&b'q') => break,
                    actix_ws::Message::Text(text) => {
                        let mut out = vec![1];
                        out.extend(text.as_bytes());
                        session.binary(out).await.unwrap();
                    }
                    _ => {}
                }
            }
            session.text(r#"{"type":"exit","code":0}"#).await.unwrap();
        }
    }
    let _ = session.close(None).await;
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command line to run, in a home and a folder of its own.
pub struct Lain {
    pub command: Command,
    pub folder: tempfile::TempDir,
    input: Option<String>,
}

/// `lain` with these arguments, without a server.
pub fn lain_alone(arguments: &[&str]) -> Lain {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lain"));
    command.args(arguments);
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", folder.path());
    command.env("LANG", "C.UTF-8");
    // Not a lain that happens to run on this machine: nothing listens here.
    command.env("LAIN_SERVER", "http://127.0.0.1:9");
    command.current_dir(folder.path());
    Lain {
        command,
        folder,
        input: None,
    }
}

/// `lain` with these arguments, and this server and its token.
pub fn lain(fake: &Fake, arguments: &[&str]) -> Lain {
    let mut lain = lain_alone(arguments);
    lain.command
        .env("LAIN_SERVER", &fake.url)
        .env("LAIN_TOKEN", TOKEN);
    lain
}

impl Lain {
    /// With a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// With a file in its folder.
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// With this on standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Runs it to its end, at most 30 s.
    pub fn run(mut self) -> Run {
        let stdin = if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        self.command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        if let Some(input) = self.input.take() {
            use std::io::Write;
            child
                .stdin
                .take()
                .unwrap()
                .write_all(input.as_bytes())
                .unwrap();
        }
        let id = rustix::process::Pid::from_child(&child);
        let watchdog = Watchdog::new(id);
        let output = child.wait_with_output().unwrap();
        drop(watchdog);
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Kills a process that does not end in time, so that a test fails rather than hangs.
pub struct Watchdog(Option<std::sync::mpsc::Sender<()>>);

impl Watchdog {
    pub fn new(id: rustix::process::Pid) -> Self {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            if receive.recv_timeout(Duration::from_secs(30))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
        });
        Self(Some(send))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
