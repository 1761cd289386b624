//! The keys that are known, as hashes: who reads the configuration cannot use them.

use std::{collections::BTreeMap, hint::black_box, rc::Rc};

use plugin_sdk::{Pointer, Problems, given, names};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A key, and what is known of its owner.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeyConfig {
    /// Whose key it is. A client that changes its key has two of the same `id` for a while.
    id: String,
    /// SHA-256 of the key in 64 hexadecimal digits: `printf %s "$KEY" | sha256sum`.
    sha256: String,
    /// What was agreed with the owner, such as `gold`, for the attribute `api-key.tier`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    tier: Option<String>,
    /// Groups of the owner, for the attribute `api-key.groups`.
    #[serde(default)]
    groups: Vec<String>,
    /// What else is known of the owner, by name: `plan: trial` is the attribute `api-key.plan`.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    attributes: BTreeMap<String, String>,
}

/// Who has a key.
#[derive(Debug)]
pub struct Owner {
    pub id: String,
    pub tier: Option<String>,
    /// Joined by commas.
    pub groups: Option<String>,
    /// Their whole names, and values.
    pub attributes: Vec<(String, String)>,
}

/// Names that are taken.
const RESERVED: [&str; 4] = ["id", "tier", "groups", "error"];
const ATTRIBUTES: usize = 16;

type Hash = [u8; 32];

/// All keys by the first half of their hashes.
#[derive(Default)]
pub struct Keys(BTreeMap<[u8; 16], (Hash, Rc<Owner>)>);

impl Keys {
    /// Adds keys that stand at this place of the configuration.
    pub fn add(&mut self, keys: Vec<KeyConfig>, at: &Pointer, problems: &mut Problems) {
        for (i, key) in keys.into_iter().enumerate() {
            let at = at.then(i);
            problems.note(at.then("id"), check_value(&key.id));
            if let Some(tier) = &key.tier {
                problems.note(at.then("tier"), check_value(tier));
            }
            for (i, group) in key.groups.iter().enumerate() {
                let legal = check_value(group).and_then(|()| {
                    if group.contains(',') { Err("must not have a comma: groups are joined by it") } else { Ok(()) }
                });
                problems.note(at.then("groups").then(i), legal);
            }
            if key.attributes.len() > ATTRIBUTES {
                problems.add(at.then("attributes"), format!("has more than {ATTRIBUTES} of them"));
            }
            for (name, value) in &key.attributes {
                let legal = if RESERVED.contains(&name.as_str()) {
                    Err("is an attribute with a meaning of its own: give it another name")
                } else {
                    names::check_attribute(name).and_then(|()| check_value(value))
                };
                problems.note(at.then("attributes").then(name), legal);
            }
            let Some(hash) = problems.note(at.then("sha256"), parse(&key.sha256)) else { continue };
            let groups = (!key.groups.is_empty()).then(|| key.groups.join(","));
            let attributes = key.attributes.into_iter().map(|(name, value)| (format!("api-key.{name}"), value));
            let owner = Rc::new(Owner { id: key.id, tier: key.tier, groups, attributes: attributes.collect() });
            if self.0.insert(half(&hash), (hash, owner)).is_some() {
                problems.add(at.then("sha256"), "is the hash of another key too: each has one owner");
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owner of a key. How long this takes tells nothing of the known hashes: they are looked up by half of a
    /// hash that a client cannot choose, and the whole is compared in constant time.
    pub fn owner(&self, key: &[u8]) -> Option<Rc<Owner>> {
        let hash: Hash = Sha256::digest(key).into();
        let (known, owner) = self.0.get(&half(&hash))?;
        equal(known, &hash).then(|| Rc::clone(owner))
    }
}

fn half(hash: &Hash) -> [u8; 16] {
    std::array::from_fn(|i| hash[i])
}

fn equal(one: &Hash, other: &Hash) -> bool {
    black_box(one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other))) == 0
}

/// Says nothing of the text: it may be a key that was put here by mistake.
fn parse(text: &str) -> Result<Hash, &'static str> {
    const EXPECTED: &str = "is not a SHA-256 in 64 hexadecimal digits; make it with `printf %s \"$KEY\" | sha256sum`";
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(EXPECTED);
    }
    let mut hash = [0; 32];
    for (octet, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| EXPECTED)?;
        // `from_str_radix` would take a sign.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(EXPECTED);
        }
        *octet = u8::from_str_radix(pair, 16).map_err(|_| EXPECTED)?;
    }
    if hash == <Hash>::from(Sha256::digest(b"")) {
        return Err("is the hash of an empty key; was the variable set?");
    }
    Ok(hash)
}

/// Fit for a header, in which it may end.
fn check_value(text: &str) -> Result<(), &'static str> {
    names::check_quotable(text)
}
