//! Asks the running daemon over its HTTP API.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::StatusCode;
use hyper::header::{ACCEPT, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::mistake::printable;
use crate::config::{ConfigError, Loaded, Sources};

/// Most bytes of an answer; the daemon's own bounds keep it far below.
const ANSWER: usize = 64 << 20;
/// Longest time for a whole question: the daemon answers from memory.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no daemon answers at {address}: {source}; start it with `monitor run`, or name its address with --addr")]
    Connect { address: String, source: io::Error },
    #[error("{address} gave no answer within {} s", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("{address} does not answer as the daemon does: {reason}; is --addr right?")]
    Answer { address: String, reason: String },
    #[error("{address} refused: {status}{reason}")]
    Refused { address: String, status: StatusCode, reason: String },
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// The address to ask: what was named, else where the configuration lets the daemon listen.
pub(super) fn address(named: Option<String>, sources: Sources) -> Result<String, ConfigError> {
    match named {
        Some(address) => Ok(address),
        None => Ok(reachable(Loaded::load(sources)?.config.http.listen).to_string()),
    }
}

/// A daemon that listens on every address is asked at the loopback one.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    listen
}

/// Asks one daemon.
pub(super) struct Client {
    address: String,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(super) fn new(address: &str) -> Result<Self, ClientError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
        Ok(Self { address: printable(address), runtime })
    }

    /// The body of the answer to `GET path`.
    pub(super) fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        let answer = async { tokio::time::timeout(TIMEOUT, self.ask(path)).await };
        self.runtime.block_on(answer).unwrap_or_else(|_| Err(ClientError::Timeout { address: self.address.clone() }))
    }

    /// The answer to `GET path` as JSON.
    pub(super) fn get_json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<(Bytes, T), ClientError> {
        let body = self.get(path)?;
        let value = serde_json::from_slice(&body).map_err(|error| self.no_daemon(&error))?;
        Ok((body, value))
    }

    async fn ask(&self, path: &str) -> Result<Bytes, ClientError> {
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|source| ClientError::Connect { address: self.address.clone(), source })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.no_daemon(&error))?;
        // It ends with the sender, and its errors reach the one who waits for the answer.
        tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header(HOST, &self.address)
            .header(ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.no_daemon(&error))?;
        let response = sender.send_request(request).await.map_err(|error| self.no_daemon(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        let body = body.map_err(|error| self.no_daemon(&error))?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(self.refused(status, &body)) }
    }

    fn no_daemon(&self, reason: &impl ToString) -> ClientError {
        ClientError::Answer { address: self.address.clone(), reason: printable(&reason.to_string()) }
    }

    /// With the first line of the answer, which says why.
    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let text = String::from_utf8_lossy(body);
        let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        let reason = if line.is_empty() { String::new() } else { format!(": {}", printable(&line)) };
        ClientError::Refused { address: self.address.clone(), status, reason }
    }
}
