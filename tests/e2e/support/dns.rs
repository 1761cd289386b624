//! A name server on loopback that says what a test tells it to, and to nobody for how long it must wait.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use tokio::{net::UdpSocket, task::JoinHandle};

/// Speaks DNS over UDP (RFC 1035) on a port that the system chose.
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<String, Answer>>>,
    queries: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
enum Answer {
    Addresses(Vec<IpAddr>, u32),
    Failure,
}

impl NameServer {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let zone = Arc::<Mutex<HashMap<String, Answer>>>::default();
        let queries = Arc::<AtomicUsize>::default();
        let shared = (zone.clone(), queries.clone());
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
                let response = answer(query, &shared.0.lock().expect("no panic"));
                shared.1.fetch_add(1, Ordering::SeqCst);
                let _ = socket.send_to(&response.to_vec().expect("an answer"), from).await;
            }
        });
        Self { address, zone, queries, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Questions answered so far.
    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    /// From now on the name has these addresses, for so many seconds.
    pub fn say(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.set(name, Answer::Addresses(addresses, ttl));
    }

    /// From now on nobody learns anything about the name.
    pub fn fail(&self, name: &str) {
        self.set(name, Answer::Failure);
    }

    fn set(&self, name: &str, answer: Answer) {
        self.zone.lock().expect("no panic").insert(format!("{name}."), answer);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(query: Message, zone: &HashMap<String, Answer>) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_available = true;
    for question in query.queries {
        match zone.get(&question.name().to_string().to_lowercase()) {
            None => response.metadata.response_code = ResponseCode::NXDomain,
            Some(Answer::Failure) => response.metadata.response_code = ResponseCode::ServFail,
            Some(Answer::Addresses(addresses, ttl)) => {
                let wanted = |address: &&IpAddr| address.is_ipv6() == (question.query_type() == RecordType::AAAA);
                for address in addresses.iter().filter(wanted) {
                    let data = match *address {
                        IpAddr::V4(address) => RData::A(address.into()),
                        IpAddr::V6(address) => RData::AAAA(address.into()),
                    };
                    response.add_answer(Record::from_rdata(question.name().clone(), *ttl, data));
                }
            }
        }
        response.add_query(question);
    }
    response
}
