//! A cluster: which node has which slot, kept up to date. A node that is unavailable takes its own slots with it and no others.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    time::Duration,
};

use redis::{Value, aio::MultiplexedConnection};
use tokio::{sync::Notify, task::spawn_local};

use super::{
    dial::{CONNECT, Target, compose, parts},
    node::{Node, Owner, PULSE, ask},
    slot::{SLOTS, slot},
};

/// Between two looks at the map while all nodes are available; while one is not, it is `PULSE`, since a replica may take its place.
const LOOK: Duration = Duration::from_secs(5);
/// However many redirections there are.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

pub(super) struct RedisCluster {
    /// Nodes that the operator has named.
    seeds: Vec<String>,
    prefix: String,
    owner: Weak<dyn Owner>,
    slots: RefCell<Vec<Option<Rc<Node>>>>,
    nodes: RefCell<HashMap<String, Rc<Node>>>,
    look: Notify,
    /// Which node, or seed, is asked next.
    turn: Cell<usize>,
}

/// A range of slots and its primary.
struct Range {
    first: u16,
    last: u16,
    host: String,
    port: u16,
}

impl RedisCluster {
    pub(super) fn new(seeds: Vec<String>, prefix: String, owner: Weak<dyn Owner>) -> Self {
        Self {
            seeds,
            prefix,
            owner,
            slots: RefCell::new(vec![None; usize::from(SLOTS)]),
            nodes: RefCell::default(),
            look: Notify::new(),
            turn: Cell::new(0),
        }
    }

    pub(super) fn node(&self, key: &str) -> Option<Rc<Node>> {
        self.slots.borrow()[usize::from(slot(key.as_bytes()))].clone()
    }

    pub(super) fn nodes(&self) -> Vec<Rc<Node>> {
        self.nodes.borrow().values().cloned().collect()
    }

    /// Whether every slot has a node.
    pub(super) fn is_covered(&self) -> bool {
        self.slots.borrow().iter().all(Option::is_some)
    }

    /// The map may have changed.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// What a node says of a slot: `HOST:PORT`.
    pub(super) fn moved(&self, slot: u16, address: &str) -> Option<Rc<Node>> {
        self.look();
        let node = self.at(address)?;
        if let Some(place) = self.slots.borrow_mut().get_mut(usize::from(slot)) {
            *place = Some(Rc::clone(&node));
        }
        Some(node)
    }

    /// The node at an address, `HOST:PORT`.
    pub(super) fn at(&self, address: &str) -> Option<Rc<Node>> {
        let (host, port) = address.rsplit_once(':')?;
        let url = compose(self.scheme(), host, port.parse().ok()?, "");
        Some(self.node_of(url, None))
    }

    fn scheme(&self) -> &str {
        self.seeds.first().map_or("redis", |seed| parts(seed).0)
    }

    /// `range`: slots of its own, one of which a probe may use.
    fn node_of(&self, url: String, range: Option<(u16, u16)>) -> Rc<Node> {
        let known = self.nodes.borrow().get(&url).cloned();
        let node = known.unwrap_or_else(|| {
            let node = Node::new(Target::Url(url.clone()), url.clone(), String::new(), self.owner.clone());
            self.nodes.borrow_mut().insert(url, Rc::clone(&node));
            spawn_local(Rc::clone(&node).stay_connected());
            node
        });
        if let Some((first, last)) = range {
            let present = slot(node.probe.borrow().as_bytes());
            if node.probe.borrow().is_empty() || !(first..=last).contains(&present) {
                node.probe.replace(probe_key(&self.prefix, first, last));
            }
        }
        node
    }

    /// Keeps the map up to date for as long as the process runs.
    pub(super) async fn keep_up(self: Rc<Self>) {
        loop {
            match tokio::time::timeout(CONNECT * 2, self.ranges()).await {
                Ok(Ok(ranges)) => self.take_over(ranges),
                Ok(Err(why)) => self.unreachable(&why),
                Err(_) => self.unreachable("no node answers"),
            }
            let all_up = self.is_covered() && self.nodes().iter().all(|node| node.is_up());
            tokio::select! {
                () = self.look.notified() => {}
                () = tokio::time::sleep(if all_up { LOOK } else { PULSE }) => {}
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    fn unreachable(&self, why: &str) {
        if let Some(owner) = self.owner.upgrade()
            && !self.nodes().iter().any(|node| node.is_up())
        {
            owner.unreachable(why);
        }
    }

    async fn ranges(&self) -> Result<Vec<Range>, String> {
        self.turn.set(self.turn.get().wrapping_add(1));
        let question = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let asked = async |mut connection: MultiplexedConnection, url: &str| {
            let answer = ask(&mut connection, &question).await.map_err(|error| error.to_string())?;
            let (_, authority, _) = parts(url);
            let own = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            ranges(&answer, own.trim_matches(['[', ']']))
                .ok_or_else(|| format!("{url}: not what CLUSTER SLOTS answers"))
        };
        let up: Vec<_> = self.nodes().into_iter().filter(|node| node.is_up()).collect();
        if !up.is_empty() {
            let node = &up[self.turn.get() % up.len()];
            if let Some(connection) = node.connection()
                && let Ok(ranges) = asked(connection, &node.name).await
            {
                return Ok(ranges);
            }
        }
        let Some(owner) = self.owner.upgrade() else { return Err("the gateway is ending".to_owned()) };
        let mut failures = Vec::new();
        for offset in 0..self.seeds.len() {
            let seed = &self.seeds[(self.turn.get() + offset) % self.seeds.len()];
            let target = Target::Url(seed.clone());
            let dialed = tokio::time::timeout(CONNECT / 2, owner.dialer().dial(&target)).await;
            let answer = match dialed {
                Ok(Ok((connection, _))) => asked(connection, seed).await,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer".to_owned()),
            };
            match answer {
                Ok(ranges) => return Ok(ranges),
                Err(why) => failures.push(format!("{seed}: {why}")),
            }
        }
        Err(failures.join("; "))
    }

    fn take_over(&self, ranges: Vec<Range>) {
        // A node that knows of no slots has just been reset, or not joined yet.
        if ranges.is_empty() {
            return self.unreachable("no slot of the cluster has a node");
        }
        let mut slots = vec![None; usize::from(SLOTS)];
        let mut of = HashMap::<String, Rc<Node>>::new();
        for range in ranges {
            let (first, last) = (range.first.min(SLOTS - 1), range.last.min(SLOTS - 1));
            let url = compose(self.scheme(), &range.host, range.port, "");
            let node = match of.get(&url) {
                Some(node) => Rc::clone(node),
                None => self.node_of(url.clone(), Some((first, last))),
            };
            for slot in first..=last {
                slots[usize::from(slot)] = Some(Rc::clone(&node));
            }
            of.insert(url, node);
        }
        self.slots.replace(slots);
        self.nodes.borrow_mut().retain(|url, node| {
            let stays = of.contains_key(url);
            if !stays {
                node.retire();
            }
            stays
        });
        if let Some(owner) = self.owner.upgrade() {
            owner.settle();
        }
    }
}

/// The primaries in the answer to `CLUSTER SLOTS`. A node that does not know its own address leaves its host empty.
fn ranges(answer: &Value, own: &str) -> Option<Vec<Range>> {
    let Value::Array(lines) = answer else { return None };
    let range = |line: &Value| {
        let Value::Array(parts) = line else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &parts[..] else { return None };
        let [host, Value::Int(port), ..] = &primary[..] else { return None };
        let host = match host {
            Value::BulkString(host) => std::str::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            Value::Nil => "",
            _ => return None,
        };
        let host = if host.is_empty() || host == "?" { own } else { host }.to_owned();
        let number = |number: &i64| u16::try_from(*number).ok();
        Some(Range { first: number(first)?, last: number(last)?, host, port: number(port)? })
    };
    lines.iter().map(range).collect()
}

/// A key that lies in one of these slots.
fn probe_key(prefix: &str, first: u16, last: u16) -> String {
    let keys = (0_u32..).map(|number| format!("{prefix}{{.probe-{number}}}"));
    // A range of one slot is found after some 16,000 keys; far more than that would be a mistake of ours.
    keys.take(1 << 20).find(|key| (first..=last).contains(&slot(key.as_bytes()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_lies_where_it_should() {
        for (first, last) in [(0, 5460), (16383, 16383), (7, 7)] {
            assert!((first..=last).contains(&slot(probe_key("gateway:", first, last).as_bytes())));
        }
    }

    #[test]
    fn an_answer_of_an_older_server_and_of_one_without_an_address_is_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let line = |first, last, host: Value, port| {
            Value::Array(vec![
                Value::Int(first),
                Value::Int(last),
                Value::Array(vec![host, Value::Int(port), text("id")]),
            ])
        };
        let answer = Value::Array(vec![line(0, 8191, text(""), 7000), line(8192, 16383, text("10.0.0.2"), 7001)]);
        let read = ranges(&answer, "10.0.0.1").unwrap();
        let read: Vec<_> = read.iter().map(|range| (range.first, range.last, &*range.host, range.port)).collect();
        assert_eq!(read, [(0, 8191, "10.0.0.1", 7000), (8192, 16383, "10.0.0.2", 7001)]);
        assert!(ranges(&Value::Okay, "a").is_none());
    }
}
