//! gRPC's reflection protocol (`grpc.reflection.v1`, and the older `v1alpha`): a service's descriptors, from itself.

mod error;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    thread,
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use gateway_core::model::{Dns, Upstream};
use gateway_http::body::Body;
use http::{HeaderMap, HeaderValue, Method, Uri, header, uri::PathAndQuery};
use prost::Message;
use tokio::task::LocalSet;

pub use error::ReflectionError;

use self::error::{EndpointError, Reason};
use super::{
    connections::{
        connect::{Address, Connected},
        http2::Mux,
        request_head::RequestHead,
        tls::ClientTls,
    },
    health::names::{LookupError, Names},
};

/// For all of it.
const REFLECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Of all descriptors.
const MOST: usize = 16 * 1024 * 1024;
/// Of files that import files that import files …
const ROUNDS: usize = 64;
const METHODS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Both versions have the same messages (grpc/reflection/v1/reflection.proto).
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(oneof = "Asked", tags = "3, 4, 7")]
    asked: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Asked {
    #[prost(string, tag = "3")]
    FileByFilename(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
    #[prost(string, tag = "7")]
    ListServices(String),
}

#[derive(Clone, PartialEq, Message)]
struct ReflectionResponse {
    #[prost(oneof = "Told", tags = "4, 6, 7")]
    told: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Told {
    #[prost(message, tag = "4")]
    Files(Files),
    #[prost(message, tag = "6")]
    Services(Services),
    #[prost(message, tag = "7")]
    Failure(Failure),
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    descriptors: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Failure {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// `google.protobuf.FileDescriptorProto`, as far as it matters here.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    imports: Vec<String>,
}

/// `google.protobuf.FileDescriptorSet`.
#[derive(Clone, PartialEq, Message)]
struct Set {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// The descriptors of all services of an upstream, as one `FileDescriptorSet`. Blocks, so not for workers.
///
/// # Errors
///
/// No endpoint has an answer.
pub fn descriptors(upstream: &Upstream, dns: &Dns) -> Result<Bytes, ReflectionError> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Reason::Start)?;
        LocalSet::new().block_on(&runtime, async {
            let asked = tokio::time::timeout(REFLECTION_TIMEOUT, any_endpoint(upstream, dns)).await;
            asked.unwrap_or(Err(Reason::Timeout(REFLECTION_TIMEOUT)))
        })
    };
    let told = thread::scope(|scope| {
        let thread = thread::Builder::new().name("reflection".to_owned()).spawn_scoped(scope, run);
        let thread = thread.map_err(Reason::Start)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    Ok(told?)
}

async fn any_endpoint(upstream: &Upstream, dns: &Dns) -> Result<Bytes, Reason> {
    let secure = upstream.endpoints.iter().any(|endpoint| gateway_core::model::Endpoint::is_secure(&endpoint.url));
    let tls = secure.then(|| ClientTls::load(&upstream.tls, upstream.protocol)).transpose();
    let tls = tls.map_err(Reason::Tls)?;
    let names = Names::new(dns);
    let mut said = Reason::NoEndpoint;
    for endpoint in &upstream.endpoints {
        let addresses = match addresses(&endpoint.url, &names).await {
            Ok(addresses) => addresses,
            Err(why) => {
                said = Reason::Name(endpoint.url.clone(), Box::new(why));
                continue;
            }
        };
        for socket in addresses {
            let address = Address::new(&endpoint.url, socket, upstream.protocol, &upstream.tls, tls.as_ref());
            match ask(&address, &endpoint.url).await {
                Ok(set) => return Ok(set),
                Err(why) => said = Reason::Endpoint(socket, why),
            }
        }
    }
    Err(said)
}

async fn addresses(url: &Uri, names: &Names) -> Result<Vec<SocketAddr>, LookupError> {
    let host = super::cluster::host_of(url);
    let port = super::cluster::port(url);
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => names.look_up(host).await?.0,
    };
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

async fn ask(address: &Address, url: &Uri) -> Result<Bytes, EndpointError> {
    let connected = address.connect(None, None, &Rc::default()).await?;
    let Connected::Http2(mux) = connected else { return Err(EndpointError::NoHttp2) };
    let mut server = Server { mux, url, method: METHODS[0] };
    let services = match server.ask(&[Asked::ListServices(String::new())]).await {
        Err(EndpointError::Unimplemented) => {
            server.method = METHODS[1];
            server.ask(&[Asked::ListServices(String::new())]).await
        }
        other => other,
    };
    let services = services?.into_iter().flat_map(|told| match told {
        Told::Services(services) => services.services,
        Told::Files(_) | Told::Failure(_) => Vec::new(),
    });
    // Reflection speaks of itself too, and not everywhere with descriptors.
    let services = services.filter(|service| !service.name.starts_with("grpc.reflection."));
    let mut questions: Vec<Asked> = services.map(|service| Asked::FileContainingSymbol(service.name)).collect();
    let mut files = BTreeMap::new();
    let mut size = 0;
    for _ in 0..ROUNDS {
        if questions.is_empty() {
            return in_order(files);
        }
        for told in server.ask(&questions).await? {
            match told {
                Told::Files(told) => {
                    for descriptor in told.descriptors {
                        size += descriptor.len();
                        if size > MOST {
                            return Err(EndpointError::DescriptorsTooLarge(MOST));
                        }
                        let head = Head::decode(descriptor.clone()).map_err(EndpointError::Descriptor)?;
                        files.insert(head.name, (head.imports, descriptor));
                    }
                }
                Told::Failure(Failure { code, message }) => return Err(EndpointError::Refused { code, message }),
                Told::Services(_) => {}
            }
        }
        let imports = files.values().flat_map(|(imports, _)| imports);
        let missing: BTreeSet<&String> = imports.filter(|name| !files.contains_key(*name)).collect();
        questions = missing.into_iter().map(|name| Asked::FileByFilename(name.clone())).collect();
    }
    Err(EndpointError::Endless)
}

/// Files after those that they import, as a set has them.
fn in_order(mut files: BTreeMap<String, (Vec<String>, Bytes)>) -> Result<Bytes, EndpointError> {
    let mut set = Set::default();
    let mut done = BTreeSet::new();
    while !files.is_empty() {
        let is_ready = |imports: &[String]| imports.iter().all(|name| done.contains(name));
        let ready: Vec<String> =
            files.iter().filter(|(_, (imports, _))| is_ready(imports)).map(|(name, _)| name.clone()).collect();
        if ready.is_empty() {
            return Err(EndpointError::Circle);
        }
        for name in ready {
            set.files.extend(files.remove(&name).map(|(_, descriptor)| descriptor));
            done.insert(name);
        }
    }
    Ok(set.encode_to_vec().into())
}

struct Server<'a> {
    mux: Rc<Mux>,
    url: &'a Uri,
    method: &'static str,
}

impl Server<'_> {
    /// Asks several questions in one call.
    async fn ask(&self, questions: &[Asked]) -> Result<Vec<Told>, EndpointError> {
        let slot = self.mux.slot().ok_or(EndpointError::Gone)?;
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("gateway-reflection"));
        let host = HeaderValue::from_str(authority)?;
        let target = PathAndQuery::from_static(self.method);
        let head = RequestHead {
            method: &Method::POST,
            target: &target,
            headers: &headers,
            forwarding: None,
            host: &host,
            upgrade: None,
            traceparent: None,
            interim: None,
            expects_continue: false,
            last: false,
        };
        let mut body = Body::Full(framed(questions));
        let scheme = self.url.scheme_str().unwrap_or("http");
        let request = head.request(scheme, std::mem::take(&mut body))?;
        let (head, mut incoming) = slot.send(request, &mut body).await?;
        if !head.status.is_success() {
            return Err(EndpointError::Status(head.status.as_u16()));
        }
        let mut answer = BytesMut::new();
        let mut trailers = None;
        while let Some(frame) = std::future::poll_fn(|cx| incoming.poll_frame(cx)).await {
            match frame?.into_data() {
                Ok(data) if answer.len() + data.len() > MOST => {
                    return Err(EndpointError::TooLarge(MOST));
                }
                Ok(data) => answer.put_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let status = trailers.as_ref().unwrap_or(&head.headers).get("grpc-status");
        match status.and_then(|status| status.to_str().ok()) {
            Some("0") => messages(answer.freeze()).ok_or(EndpointError::NotOfProtocol),
            Some("12") => Err(EndpointError::Unimplemented),
            other => Err(EndpointError::GrpcStatus(other.unwrap_or("missing").to_owned())),
        }
    }
}

/// As gRPC frames messages: a flag, a length, the message.
fn framed(questions: &[Asked]) -> Bytes {
    let mut frames = BytesMut::new();
    for asked in questions {
        let message = Question { asked: Some(asked.clone()) }.encode_to_vec();
        frames.put_u8(0);
        frames.put_u32(message.len() as u32);
        frames.put_slice(&message);
    }
    frames.freeze()
}

fn messages(mut frames: Bytes) -> Option<Vec<Told>> {
    let mut messages = Vec::new();
    while !frames.is_empty() {
        if frames.len() < 5 || frames.get_u8() != 0 {
            return None;
        }
        let length = frames.get_u32() as usize;
        if length > frames.len() {
            return None;
        }
        messages.extend(ReflectionResponse::decode(frames.split_to(length)).ok()?.told);
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, imports: &[&str]) -> (String, (Vec<String>, Bytes)) {
        let imports: Vec<String> = imports.iter().map(|name| (*name).to_owned()).collect();
        let head = Head { name: name.to_owned(), imports: imports.clone() };
        (name.to_owned(), (imports, head.encode_to_vec().into()))
    }

    #[test]
    fn files_come_after_those_that_they_import() {
        let files = [file("a", &["c", "b"]), file("b", &["c"]), file("c", &[])];
        let set = Set::decode(in_order(files.into()).unwrap()).unwrap();
        let names: Vec<String> = set.files.into_iter().map(|file| Head::decode(file).unwrap().name).collect();
        assert_eq!(names, ["c", "b", "a"]);
        assert!(in_order([file("a", &["b"]), file("b", &["a"])].into()).unwrap_err().to_string().contains("circle"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [&b"\0"[..], b"\x01\0\0\0\0", b"\0\0\0\0\x05\x0a", b"\0\xff\xff\xff\xff", b"\0\0\0\0\x02\x22\x7f"]
        {
            assert!(messages(Bytes::copy_from_slice(bytes)).is_none(), "{}", bytes.escape_ascii());
        }
        assert_eq!(messages(Bytes::new()), Some(Vec::new()));
    }
}
