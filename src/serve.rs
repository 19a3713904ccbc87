//! `/metrics`, `/health` and `/ready`, for Prometheus and for whoever restarts processes.
//!
//! `/health` is 200 while the process works, waiting included: restarting it would not help. `/ready` is 200 while every
//! pipeline is running.
//!
//! Who watches a pipeline must not be able to stop it: connections are few, each is there for one request, and none lasts.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use chrono::SecondsFormat;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use crate::{
    error::{Context, Result},
    metrics::Metrics,
    runtime::supervise::{State as Doing, Statuses},
};

/// Connections at a time; further ones wait to be accepted. Each takes a descriptor, and files and brokers need theirs.
const CONNECTIONS: usize = 64;
const LIFETIME: Duration = Duration::from_secs(10);
const QUESTION: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Limits {
    /// How long it may take to ask: whoever says nothing does not keep its place from others for longer.
    question: Duration,
    /// How long a connection lasts at most, whatever it does or leaves undone.
    lifetime: Duration,
}

#[derive(Clone)]
struct Shown {
    metrics: Arc<Metrics>,
    statuses: Arc<Statuses>,
}

/// Binds, and serves in the background until the runtime ends; tells the address (port 0 finds a free one).
pub async fn serve(listen: SocketAddr, metrics: Arc<Metrics>, statuses: Arc<Statuses>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await.or_config(format!("listen on {listen} (listen in huiju.toml)"))?;
    let address = listener.local_addr().or_bug("ask for the address we listen on")?;
    let app = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(Shown { metrics, statuses });
    tokio::spawn(answer_all(listener, app, CONNECTIONS, Limits { question: QUESTION, lifetime: LIFETIME }));
    Ok(address)
}

async fn answer_all(mut listener: TcpListener, app: Router, connections: usize, limits: Limits) {
    let places = Arc::new(Semaphore::new(connections));
    loop {
        let place = places.clone().acquire_owned().await.expect("nobody closes it");
        // axum's: one that fails is logged, and tried again.
        let (stream, _) = Listener::accept(&mut listener).await;
        let app = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let mut once = http1::Builder::new();
            once.timer(TokioTimer::new()).header_read_timeout(limits.question).keep_alive(false);
            let answered = once.serve_connection(TokioIo::new(stream), app);
            let _ = timeout(limits.lifetime, answered).await; // that somebody says nothing, or hangs up, is no news
            drop(place);
        });
    }
}

async fn metrics_text(State(shown): State<Shown>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shown.metrics.text()).into_response()
}

async fn health(State(shown): State<Shown>) -> Response {
    answer(&shown, true)
}

async fn ready(State(shown): State<Shown>) -> Response {
    let ready = shown.statuses.all().values().all(|status| matches!(status.state, Doing::Running | Doing::Finished));
    answer(&shown, ready)
}

fn answer(shown: &Shown, well: bool) -> Response {
    let pipelines: serde_json::Map<String, serde_json::Value> = shown
        .statuses
        .all()
        .into_iter()
        .map(|(name, status)| {
            let state = status.state.name();
            (name.to_string(), json!({"state": state, "since": status.since.to_rfc3339_opts(SecondsFormat::Secs, true), "reason": status.reason}))
        })
        .collect();
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ok": well, "pipelines": pipelines}).to_string();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use tokio::runtime::Runtime;

    use super::*;

    fn serving(connections: usize, question: Duration, lifetime: Duration) -> (Runtime, SocketAddr) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(|| async { "well" }));
        runtime.spawn(answer_all(listener, app, connections, Limits { question, lifetime }));
        (runtime, address)
    }

    fn say(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// All that comes until the other side closes.
    fn heard(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it is closed in time");
        String::from_utf8(answer).unwrap()
    }

    /// A pipeline that has done its work needs nothing more.
    #[test]
    fn ready_is_who_has_every_pipeline_running_or_finished() {
        let shown = Shown { metrics: Metrics::new(), statuses: Arc::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = chrono::DateTime::UNIX_EPOCH;
        shown.statuses.set(&"orders".into(), Doing::Running, None, now);
        for (state, code) in
            [(Doing::Waiting, 503), (Doing::Running, 200), (Doing::Stopped, 503), (Doing::Finished, 200)]
        {
            shown.statuses.set(&"calls".into(), state, None, now);
            assert_eq!(runtime.block_on(ready(State(shown.clone()))).status(), code, "{state:?}");
            assert_eq!(runtime.block_on(health(State(shown.clone()))).status(), 200, "{state:?}");
        }
    }

    const NEVER: Duration = Duration::from_secs(3600);
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: huiju\r\n\r\n";

    #[test]
    fn a_connection_is_closed_after_one_answer() {
        let (_runtime, address) = serving(1, NEVER, NEVER);
        for _ in 0..3 {
            let answer = heard(say(address, REQUEST));
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nwell"), "{answer}");
        }
    }

    #[test]
    fn connections_that_ask_for_nothing_are_closed_and_others_have_their_turn() {
        let (_runtime, address) = serving(3, NEVER, Duration::from_secs(2));
        let silent = ["", "GET / HT", "GET / HTTP/1.1\r\nHost: huiju\r\n"].map(|text| say(address, text));
        assert!(heard(say(address, REQUEST)).ends_with("well"));
        for stream in silent {
            assert_eq!(heard(stream), "");
        }
    }

    /// However long an answer may take.
    #[test]
    fn a_question_may_not_take_as_long_as_an_answer() {
        let (_runtime, address) = serving(1, Duration::from_secs(1), NEVER);
        let silent = say(address, "GET / HT");
        assert!(heard(say(address, REQUEST)).ends_with("well"));
        drop(silent);
    }
}
