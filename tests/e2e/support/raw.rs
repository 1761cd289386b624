//! Bytes on a socket, for what no well-behaved client sends.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::in_time;

/// Sends bytes and returns everything that comes back until the other side closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("the bytes are taken");
    read_to_close(&mut stream).await
}

/// Everything until the other side closes; a reset counts as closing.
pub async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    in_time("closing the connection", async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..n]);
        }
    })
    .await;
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until the text has come, and returns all that came.
pub async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    in_time(&format!("waiting for {text:?}"), async {
        let mut buffer = [0; 16 * 1024];
        while !String::from_utf8_lossy(&all).contains(text) {
            match stream.read(&mut buffer).await {
                Ok(n @ 1..) => all.extend_from_slice(&buffer[..n]),
                end => panic!("{end:?} before {text:?}, after {:?}", String::from_utf8_lossy(&all)),
            }
        }
    })
    .await;
    String::from_utf8_lossy(&all).into_owned()
}
