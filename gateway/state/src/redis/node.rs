//! One server and the connection to it: opened, probed, given up when it is of no use, and opened anew.
//!
//! A server that answers is not yet one that serves: a primary that was demoted, or is out of memory, answers pings and refuses
//! writes. So what decides is a write of our own (`probe.lua`), before the first request, once a second, and at once when a request
//! fails in a way that may concern them all.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

use redis::{
    Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::sync::Notify;

use super::{
    dial::{CONNECT, DialError, Dialer, Target},
    failure::{Concerns, Failure, explain},
    ops::{Op, Reply},
};

/// After so many consecutive timeouts the connection is closed.
const MAX_TIMEOUTS: u32 = 8;
/// Between two probes while all is well.
pub(super) const PULSE: Duration = Duration::from_secs(1);
/// After a probe that went well: errors that concern single requests make no flood of probes.
const BETWEEN_PROBES: Duration = Duration::from_millis(100);
/// After so many pulses the Sentinels are asked whether the primary is still the same.
const PULSES_BETWEEN_QUESTIONS: u32 = 5;
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What a node, or a cluster of them, needs of what it belongs to.
pub(super) trait Owner {
    fn dialer(&self) -> &Rc<Dialer>;

    /// A server is available again.
    fn came(&self, server: &str);

    /// A server has become unavailable, for this reason.
    fn log_away(&self, server: &str, why: &str);

    /// No node of the cluster can be connected to, for this reason.
    fn unreachable(&self, why: &str);

    /// The state of some node has changed: the rest of the process gets the state of the backend as a whole.
    fn settle(&self);
}

pub(super) struct Node {
    target: Target,
    /// As the log names it: without credentials.
    pub(super) name: String,
    /// What is written to see whether writes are taken; in a cluster it lies in a slot of this node's.
    pub(super) probe: RefCell<String>,
    node_connection: RefCell<Option<Rc<NodeConnection>>>,
    /// Why there is no connection.
    pub(super) why: RefCell<String>,
    suspected: Notify,
    lost: Notify,
    /// It is no part of the cluster any more.
    retired: Cell<bool>,
    owner: Weak<dyn Owner>,
}

/// A connection and how it does. A request keeps the line that it was sent on: it may end long after another line has taken the
/// place of its own, and what it has to say about the connection then concerns the old one only.
struct NodeConnection {
    connection: MultiplexedConnection,
    /// Requests in a row that were not answered in time.
    timeouts_in_a_row: Cell<u32>,
}

/// Why a request was not answered.
pub(super) enum RequestError {
    /// It was not sent.
    Skipped(Failure),
    Timeout(Failure),
    Failed(Failure),
    Moved(u16, String, Failure),
    Asked(String, Failure),
}

impl Node {
    pub(super) fn new(target: Target, name: String, probe: String, owner: Weak<dyn Owner>) -> Rc<Self> {
        Rc::new(Self {
            target,
            name,
            probe: RefCell::new(probe),
            node_connection: RefCell::default(),
            why: RefCell::new("not connected".to_owned()),
            suspected: Notify::new(),
            lost: Notify::new(),
            retired: Cell::new(false),
            owner,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.node_connection.borrow().is_some()
    }

    pub(super) fn connection(&self) -> Option<MultiplexedConnection> {
        self.node_connection.borrow().as_ref().map(|node_connection| node_connection.connection.clone())
    }

    fn is_current(&self, node_connection: &Rc<NodeConnection>) -> bool {
        self.node_connection.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, node_connection))
    }

    /// Ends `stay_connected`.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.node_connection.take();
        self.lost.notify_one();
    }

    /// `asking`: the slot is on its way to this node.
    pub(super) async fn run(&self, op: &Op, asking: bool, limit: Duration) -> Result<Reply, RequestError> {
        let Some(node_connection) = self.node_connection.borrow().clone() else {
            return Err(RequestError::Skipped(Failure::Unavailable(format!("{}: {}", self.name, self.why.borrow()))));
        };
        let mut connection = node_connection.connection.clone();
        let run = async { if asking { op.run(&mut Asking(connection)).await } else { op.run(&mut connection).await } };
        match tokio::time::timeout(limit, run).await {
            Ok(Ok(reply)) => {
                node_connection.timeouts_in_a_row.set(0);
                Ok(reply)
            }
            Ok(Err(error)) => {
                let (failure, concerns) = explain(&error);
                Err(match concerns {
                    Concerns::Moved(slot, address) => RequestError::Moved(slot, address, failure),
                    Concerns::Asked(address) => RequestError::Asked(address, failure),
                    Concerns::Request => RequestError::Failed(failure),
                    Concerns::Server => {
                        if self.is_current(&node_connection) {
                            self.suspected.notify_one();
                        }
                        RequestError::Failed(failure)
                    }
                    Concerns::Connection => {
                        self.lose(&node_connection, &error.to_string());
                        RequestError::Failed(failure)
                    }
                })
            }
            Err(_) => {
                let why = format!("no answer within {limit:?}");
                node_connection.timeouts_in_a_row.set(node_connection.timeouts_in_a_row.get().saturating_add(1));
                if node_connection.timeouts_in_a_row.get() >= MAX_TIMEOUTS {
                    self.lose(&node_connection, &why);
                }
                Err(RequestError::Timeout(Failure::Unavailable(why)))
            }
        }
    }

    /// The line is of no use. If another one has taken its place already, that one stays.
    fn lose(&self, node_connection: &Rc<NodeConnection>, why: &str) {
        if self.is_current(node_connection) {
            self.node_connection.take();
            self.down(why);
            self.lost.notify_one();
        }
    }

    /// Notes and logs why there is no connection, unless that is known.
    fn down(&self, why: &str) {
        let told = self.why.replace(why.to_owned()) == why;
        let Some(owner) = self.owner.upgrade() else { return };
        if !told && !self.retired.get() {
            owner.log_away(&self.name, why);
        }
        owner.settle();
    }

    /// Connects, looks after the connection, and connects again when it is lost.
    pub(super) async fn stay_connected(self: Rc<Self>) {
        let mut wait = SHORTEST_WAIT;
        while !self.retired.get() {
            let Some(dialer) = self.owner.upgrade().map(|owner| Rc::clone(owner.dialer())) else { return };
            match tokio::time::timeout(CONNECT, self.connect(&dialer)).await {
                Ok(Ok((connection, url))) if !self.retired.get() => {
                    let node_connection = Rc::new(NodeConnection { connection, timeouts_in_a_row: Cell::new(0) });
                    self.node_connection.replace(Some(Rc::clone(&node_connection)));
                    *self.why.borrow_mut() = String::new();
                    if let Some(owner) = self.owner.upgrade() {
                        owner.came(&self.name);
                    }
                    wait = SHORTEST_WAIT;
                    self.look_after(&node_connection, &url, &dialer).await;
                }
                Ok(Ok(_)) => return,
                Ok(Err(error)) => self.down(&error.to_string()),
                Err(_) => self.down(&format!("no answer within {CONNECT:?}")),
            }
            tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connect(&self, dialer: &Dialer) -> Result<(MultiplexedConnection, String), DialError> {
        let (mut connection, url) = dialer.dial(&self.target).await?;
        self.probe(&mut connection).await?;
        Ok((connection, url))
    }

    async fn probe(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let key = self.probe.borrow().clone();
        if key.is_empty() {
            // A node of which no slot is known yet.
            return ask(connection, &redis::cmd("PING")).await.map(drop);
        }
        let probe = Op::Probe { key };
        probe.run(connection).await.map(drop)
    }

    /// Ends when the connection was given up.
    async fn look_after(&self, node_connection: &Rc<NodeConnection>, url: &str, dialer: &Dialer) {
        let mut connection = node_connection.connection.clone();
        let mut pulses = 0;
        while self.is_current(node_connection) {
            let suspected = tokio::select! {
                () = self.lost.notified() => continue,
                () = self.suspected.notified() => true,
                () = tokio::time::sleep(PULSE) => false,
            };
            match tokio::time::timeout(CONNECT, self.probe(&mut connection)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.lose(node_connection, &error.to_string()),
                Err(_) => return self.lose(node_connection, &format!("no answer within {CONNECT:?}")),
            }
            if suspected {
                tokio::time::sleep(BETWEEN_PROBES).await;
                continue;
            }
            pulses += 1;
            if pulses % PULSES_BETWEEN_QUESTIONS == 0
                && let Target::Primary { .. } = self.target
                && let Ok(Ok(now)) = tokio::time::timeout(CONNECT, dialer.resolve(&self.target)).await
                && now != url
            {
                // A primary that was cut off may go on taking writes, which are lost with it.
                return self.lose(node_connection, &format!("the Sentinels name another primary: {now}"));
            }
        }
    }
}

/// A connection that says before each command that the key may be here already (Redis Cluster Specification, "ASK redirection").
#[derive(Clone)]
struct Asking(MultiplexedConnection);

impl ConnectionLike for Asking {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut both = redis::pipe();
            both.cmd("ASKING").add_command(cmd.clone());
            let mut answers = self.0.req_packed_commands(&both, 1, 1).await?;
            Ok(answers.pop().unwrap_or(Value::Nil))
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}

/// For questions that are no operation, such as those about a cluster.
pub(super) async fn ask(connection: &mut MultiplexedConnection, question: &Cmd) -> RedisResult<Value> {
    question.query_async(connection).await
}
