//! `gateway health`: the health check of a container whose image has no other program.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{Failed, HealthArgs, print};

/// For all of it; Docker's own time limit is longer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A head and some lines. The rest, if any, is not read.
const MAX_RESPONSE: usize = 16 * 1024;

pub(super) fn health(args: &HealthArgs) -> Result<(), Failed> {
    let address = args.admin;
    let response = probe(address).map_err(|error| {
        Failed::Stopped(format!(
            "no response from the admin listener at {address}: {error}; --admin names another address"
        ))
    })?;
    let Some(status) = response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) else {
        return Err(Failed::Stopped(format!(
            "{address} does not speak HTTP/1.1; an admin listener with TLS needs another probe"
        )));
    };
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
    match status {
        "200" if body.starts_with("ready") => print(body),
        "200" => Err(Failed::Stopped(format!("{address} is not the admin listener of a gateway"))),
        _ => Err(Failed::Stopped(format!("not ready: {status} {body}"))),
    }
}

/// The response to `GET /readyz`, as text.
fn probe(address: SocketAddr) -> io::Result<String> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut response = vec![0; MAX_RESPONSE];
    let mut length = 0;
    while let Some(space) = response.get_mut(length..).filter(|space| !space.is_empty()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(space)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(String::from_utf8_lossy(response.get(..length).unwrap_or_default()).into_owned())
}
