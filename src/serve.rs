//! `/metrics`, `/health` and `/ready`, for Prometheus and for whoever restarts processes.
//!
//! `/health` is 200 while the process works, waiting included: restarting it would not help. `/ready` is 200 while every
//! pipeline is running.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::SecondsFormat;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    error::{Context, Result},
    metrics::Metrics,
    runtime::supervise::{State as Doing, Statuses},
};

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
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(address)
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
            let state = match status.state {
                Doing::Running => "running",
                Doing::Waiting => "waiting",
                Doing::Finished => "finished",
                Doing::Stopped => "stopped",
            };
            (name.to_string(), json!({"state": state, "since": status.since.to_rfc3339_opts(SecondsFormat::Secs, true), "reason": status.reason}))
        })
        .collect();
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ok": well, "pipelines": pipelines}).to_string();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
