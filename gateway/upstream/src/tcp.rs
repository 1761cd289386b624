//! Conversations in protocols that plugins speak: bytes go to an endpoint, and bytes come back, over connections that are
//! kept like those of HTTP/1.1. Where an answer ends, only the plugin knows.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use gateway_core::{
    error::{Failure, chain},
    model::Protocol,
};
use gateway_telemetry::trace::{Tried, Tries};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    connections::{http1, incoming::Transport},
    messages::{acquire::acquire, response::BodyLease},
    refused::Refused,
    worker::{InFlight, Upstream},
};

/// What is read at a time, at least where there is room.
const READ: usize = 8 * 1024;
/// A plugin that waits for more without knowing how much is there is called once there is a quarter more than
/// before, or nothing has come for so long: so it does not look at the same bytes again for each few that are
/// new.
const PAUSE: Duration = Duration::from_millis(2);

/// What begins a conversation.
pub struct Opening {
    /// The message.
    pub bytes: Vec<u8>,
    /// How many bytes of an answer there must be; 0 for none.
    pub wants: usize,
    /// An answer has no more bytes than this.
    pub limit: usize,
    /// For all of the conversation.
    pub until: Instant,
    /// It may be sent twice.
    pub repeatable: bool,
    /// Where it is recorded, if it is.
    pub tries: Option<Box<Tries>>,
}

/// A message was sent, and as much of the answer is here as was wanted. Dropped, it closes its connection.
pub struct Conversation {
    connection: Box<http1::Connection>,
    lease: BodyLease,
    upstream: Rc<Upstream>,
    heard: BytesMut,
    limit: usize,
    until: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Silence {
    /// Nothing was sent.
    Refused(Refused),
    /// Not as much has come in time.
    Timeout,
    /// The connection ended first; with the cause.
    Closed(String),
    /// More was wanted than the limit of the conversation allows.
    TooLarge,
}

impl Silence {
    fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.failure.reason(),
            Self::Timeout => Failure::UpstreamTimeout.reason(),
            Self::Closed(_) => Failure::UpstreamClosed.reason(),
            Self::TooLarge => "too-large",
        }
    }
}

impl Upstream {
    /// Whether conversations can be had with it, and no requests made.
    pub fn is_tcp(&self) -> bool {
        self.model.protocol == Protocol::Tcp
    }
}

impl Conversation {
    /// Sends the message and waits for as much of the answer as is wanted.
    ///
    /// # Errors
    ///
    /// There is not as much. What was sent may have had its effect, unless it is [`Silence::Refused`].
    pub async fn open(upstream: Rc<Upstream>, mut opening: Opening) -> Result<Self, Silence> {
        let began = Instant::now();
        if let Some(tries) = &mut opening.tries {
            tries.begin(began);
        }
        let mut permit = upstream.admit(began).map_err(Silence::Refused)?;
        let Some(mut endpoint) = upstream.pick(None, None, began) else {
            upstream.metrics.failed();
            return Err(Silence::Refused(Refused::new(Failure::NoEndpoint, "no endpoint is known")));
        };
        let most = upstream.model.timeouts.response.map_or(opening.until, |most| opening.until.min(began + most));
        let heard = tokio::time::timeout_at(most.into(), first(&upstream, &mut endpoint, &opening)).await;
        let heard = heard.unwrap_or(Err(Silence::Timeout));
        let at = Instant::now();
        let failed = match &heard {
            Ok(_) => Some(false),
            Err(Silence::Refused(refused)) => refused.failure.is_the_upstreams().then_some(true),
            Err(Silence::Timeout | Silence::Closed(_)) => Some(true),
            Err(Silence::TooLarge) => None,
        };
        if let Some(permit) = &mut permit {
            permit.ended(failed, at);
        }
        if let Some(tries) = &mut opening.tries {
            tries.end(at, |again| Tried {
                upstream: upstream.model.name.clone(),
                endpoint: Some(endpoint.name()),
                method: String::new(),
                status: None,
                failure: heard.as_ref().err().map(Silence::reason),
                again,
            });
        }
        let (connection, heard) = heard.inspect_err(|silence| {
            upstream.metrics.failed();
            // That it could not be reached was noted where that was seen.
            if matches!(silence, Silence::Timeout | Silence::Closed(_)) {
                upstream.observe(&endpoint, true, at);
            }
        })?;
        upstream.metrics.heard(at.saturating_duration_since(began).as_micros() as u64);
        upstream.observe(&endpoint, false, at);
        let lease = BodyLease { endpoint, owner: None, _permit: permit };
        Ok(Self { connection, lease, upstream, heard, limit: opening.limit, until: opening.until })
    }

    /// All that has come.
    pub fn heard(&self) -> &[u8] {
        &self.heard
    }

    /// Waits until so much has come, from the first byte on; for at least one more than there is.
    ///
    /// # Errors
    ///
    /// As [`Conversation::open`] has them.
    pub async fn hear(&mut self, wants: usize) -> Result<(), Silence> {
        let before = self.heard.len();
        let wants = wants.max(before + 1);
        let enough = wants.max(before + before / 4);
        let reading = async {
            hear(&mut self.connection, &mut self.heard, wants, self.limit).await?;
            while self.heard.len() < enough {
                let more = self.heard.len() + 1;
                let more = hear(&mut self.connection, &mut self.heard, more, self.limit);
                match tokio::time::timeout(PAUSE, more).await {
                    Ok(Ok(())) => {}
                    // What is wrong shows when it turns out that more is wanted.
                    Ok(Err(_)) | Err(_) => break,
                }
            }
            Ok(())
        };
        let heard = tokio::time::timeout_at(self.until.into(), reading).await.unwrap_or(Err(Silence::Timeout));
        if let Err(Silence::Timeout | Silence::Closed(_)) = &heard {
            self.upstream.observe(&self.lease.endpoint, true, Instant::now());
        }
        heard
    }

    /// The answer was all that was heard: the connection may serve another conversation.
    pub fn finish(self) {
        self.lease.endpoint.put_idle(self.connection);
    }
}

/// The beginning of an answer, over a connection that was kept or a new one. `endpoint` becomes the one that was asked.
async fn first(
    upstream: &Upstream,
    endpoint: &mut InFlight,
    opening: &Opening,
) -> Result<(Box<http1::Connection>, BytesMut), Silence> {
    let mut kept = true;
    loop {
        let idle = if kept { unused(endpoint) } else { None };
        let (mut connection, reused) = match idle {
            Some(connection) => (connection, true),
            None => match Box::pin(acquire(upstream, endpoint, false)).await.map_err(Silence::Refused)? {
                (Transport::Http1(connection), reused) => (connection, reused),
                (Transport::Http2(_), _) => return Err(Silence::Closed("the endpoint speaks HTTP/2".to_owned())),
            },
        };
        let mut heard = BytesMut::new();
        let sent = async {
            let io = connection.io();
            io.write_all(&opening.bytes).await?;
            // TLS may keep something back.
            io.flush().await
        };
        let answer = match sent.await {
            Ok(()) => hear(&mut connection, &mut heard, opening.wants, opening.limit).await,
            Err(error) => Err(closed(&error)),
        };
        match answer {
            Ok(()) => return Ok((connection, heard)),
            // It may have been closed an instant before the message came there, or after.
            Err(Silence::Closed(_)) if reused && opening.repeatable && heard.is_empty() => kept = false,
            Err(silence) => return Err(silence),
        }
    }
}

/// A connection that was kept, and is still open as far as one can see.
fn unused(endpoint: &InFlight) -> Option<Box<http1::Connection>> {
    while let Some(Transport::Http1(mut connection)) = endpoint.take_idle() {
        if !connection.is_closed() {
            return Some(connection);
        }
    }
    None
}

async fn hear(
    connection: &mut http1::Connection,
    heard: &mut BytesMut,
    wants: usize,
    limit: usize,
) -> Result<(), Silence> {
    if wants > limit {
        return Err(Silence::TooLarge);
    }
    while heard.len() < wants {
        // Not by the requested size alone.
        let left = limit - heard.len();
        heard.reserve(READ.min(left));
        match connection.io().read_buf(&mut (&mut *heard).limit(left)).await {
            Ok(0) => return Err(Silence::Closed("the endpoint closed it".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(closed(&error)),
        }
    }
    Ok(())
}

fn closed(error: &io::Error) -> Silence {
    Silence::Closed(chain(error))
}
