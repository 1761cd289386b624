//! What the claims of a token must say.

use plugin_jose::{Algorithm, ClaimPath};
use plugin_sdk::{Pointer, Problems};
use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use crate::{
    config::{ClaimConfig, OneOrMany},
    refusal::Refusal,
};

type Claims = Map<String, Value>;

/// What one pattern may take, compiled.
const PATTERN_BYTES: usize = 64 * 1024;

/// The rules of a configuration.
pub(crate) struct Rules {
    /// `None` for all that the keys are for.
    pub(crate) algorithms: Option<Vec<Algorithm>>,
    pub(crate) types: Option<Vec<String>>,
    /// Milliseconds, as all times here.
    pub(crate) leeway: i64,
    pub(crate) max_age: Option<i64>,
    pub(crate) require_expiry: bool,
    pub(crate) scopes: Vec<String>,
    pub(crate) claims: Vec<ClaimRule>,
}

/// From when until when a token is accepted, leeway included, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    pub(crate) fn new(from: i64, until: i64) -> Self {
        Self { from, until }
    }

    /// A token is no longer valid at the very moment that its `exp` names (RFC 7519 §4.1.4).
    pub(crate) fn check(self, now: i64) -> Result<(), Refusal> {
        if now < self.from {
            Err(Refusal::NotYetValid)
        } else if now >= self.until {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }

    pub(crate) fn is_over(self, now: i64) -> bool {
        now >= self.until
    }
}

impl Rules {
    pub(crate) fn check_type(&self, typ: Option<&str>) -> Result<(), Refusal> {
        let Some(types) = &self.types else { return Ok(()) };
        let typ = typ.map(media_type).ok_or(Refusal::Type)?;
        let accepted = types.iter().any(|accepted| media_type(accepted).eq_ignore_ascii_case(typ));
        if accepted { Ok(()) } else { Err(Refusal::Type) }
    }

    pub(crate) fn accepts(&self, algorithm: Algorithm) -> bool {
        self.algorithms.as_ref().is_none_or(|accepted| accepted.contains(&algorithm))
    }

    /// What makes a valid token insufficient.
    pub(crate) fn check_rights(&self, claims: &Claims) -> Result<(), Refusal> {
        if !self.scopes.iter().all(|scope| has_scope(claims, scope)) {
            return Err(Refusal::Scope);
        }
        if self.claims.iter().all(|rule| rule.holds(claims)) { Ok(()) } else { Err(Refusal::Claim) }
    }

    /// From when until when a token is accepted, by its own times and ours.
    pub(crate) fn validity(&self, claims: &Claims) -> Result<Validity, Refusal> {
        let (expiry, not_before, issued) = (time(claims, "exp")?, time(claims, "nbf")?, time(claims, "iat")?);
        if expiry.is_none() && self.require_expiry {
            return Err(Refusal::NoExpiry);
        }
        let mut from = not_before.unwrap_or(i64::MIN);
        let mut until = expiry.unwrap_or(i64::MAX);
        if let Some(max_age) = self.max_age {
            // One from the future would outlive its age.
            let issued = issued.ok_or(Refusal::Claims)?;
            from = from.max(issued);
            until = until.min(issued.saturating_add(max_age));
        }
        Ok(Validity::new(from.saturating_sub(self.leeway), until.saturating_add(self.leeway)))
    }
}

/// A NumericDate (RFC 7519 §2): seconds, with or without a fraction.
fn time(claims: &Claims, name: &str) -> Result<Option<i64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        // Milliseconds fit a float for as long as there will be gateways, and the conversion saturates.
        Some(Value::Number(seconds)) => Ok(seconds.as_f64().map(|seconds| (seconds * 1000.0) as i64)),
        // An integer beyond 64 bits is kept as text, and is for ever.
        Some(Value::String(digits)) if digits.len() > 18 && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            Ok(Some(i64::MAX))
        }
        Some(_) => Err(Refusal::Claims),
    }
}

/// RFC 7515 §4.1.9: `application/` may be left out.
fn media_type(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        _ => typ,
    }
}

/// `scope` of RFC 8693 §4.2, or `scp` as some issuers have it; each a text with spaces, or a list.
fn has_scope(claims: &Claims, scope: &str) -> bool {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(scopes)) => scopes.split(' ').any(|s| s == scope),
        Some(Value::Array(scopes)) => scopes.iter().any(|s| s == scope),
        _ => false,
    }
}

/// A rule on one claim.
pub(crate) struct ClaimRule {
    path: ClaimPath,
    test: Test,
}

enum Test {
    Present,
    Equals(Value),
    OneOf(Vec<Value>),
    AllOf(Vec<Value>),
    Contains(Value),
    Pattern(Regex),
}

impl ClaimRule {
    pub(crate) fn read(config: ClaimConfig, at: &Pointer, problems: &mut Problems) -> Option<Self> {
        let ClaimConfig { claim, equals, contains, one_of, all_of, pattern } = config;
        let path = ClaimPath::read(&claim, &at.then("claim"), problems);
        let (place, values, test) = match (equals, contains, one_of, all_of, pattern) {
            (None, None, None, None, None) => return Some(Self { path: path?, test: Test::Present }),
            (Some(value), None, None, None, None) => ("equals", vec![value.clone()], Test::Equals(value)),
            (None, Some(value), None, None, None) => ("contains", vec![value.clone()], Test::Contains(value)),
            (None, None, Some(values), None, None) => ("one-of", values.clone(), Test::OneOf(values)),
            (None, None, None, Some(values), None) => ("all-of", values.clone(), Test::AllOf(values)),
            (None, None, None, None, Some(pattern)) => {
                let pattern = problems.note(at.then("pattern"), whole(&pattern))?;
                return Some(Self { path: path?, test: Test::Pattern(pattern) });
            }
            _ => {
                problems.add(at, "needs at most one of `equals`, `contains`, `one-of`, `all-of` and `pattern`");
                return None;
            }
        };
        if values.is_empty() {
            problems.add(at.then(place), "must not be empty");
            return None;
        }
        if values.contains(&Value::Null) {
            problems.add(at.then(place), "must not be null: a claim that is null counts as absent");
            return None;
        }
        Some(Self { path: path?, test })
    }

    fn holds(&self, claims: &Claims) -> bool {
        let Some(found) = self.path.find(claims) else { return false };
        let list = found.as_array().map_or(&[][..], Vec::as_slice);
        match &self.test {
            Test::Present => true,
            Test::Equals(value) => same(found, value),
            Test::OneOf(values) => values.iter().any(|value| same(found, value) || list.iter().any(|v| same(v, value))),
            Test::AllOf(values) => values.iter().all(|value| list.iter().any(|v| same(v, value))),
            Test::Contains(value) => match found {
                Value::String(words) => words.split(' ').any(|word| value == word),
                _ => list.iter().any(|v| same(v, value)),
            },
            Test::Pattern(pattern) => {
                let texts = list.iter().chain([found]).filter_map(Value::as_str);
                texts.into_iter().any(|text| pattern.is_match(text))
            }
        }
    }
}

/// Whether two values are the same, 1 and 1.0 included. Integers are never compared as floats, which would make one
/// identifier of two.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() != b.is_f64() => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// A pattern that must match all of a text: half of a name is another name.
fn whole(pattern: &str) -> Result<Regex, String> {
    // By itself first: brackets that are not closed must not close ours.
    let check = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
    let both = check(pattern).and_then(|_| check(&format!(r"\A(?:{pattern})\z")));
    both.map_err(|error| format!("is not a regular expression: {error}"))
}

/// The algorithms that are accepted; `None` for all that the keys are for.
pub(crate) fn algorithms(config: Option<Vec<String>>, problems: &mut Problems) -> Option<Vec<Algorithm>> {
    let at = Pointer::from("/algorithms");
    let names = config?;
    if names.is_empty() {
        problems.add(&at, "must not be empty");
    }
    let mut algorithms = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let unknown = format!("`{name}` is no known signature algorithm");
        algorithms.extend(problems.note(at.then(i), name.parse::<Algorithm>().map_err(|_| unknown)));
    }
    Some(algorithms)
}

/// Texts of which one must match: at least one, and none empty.
pub(crate) fn alternatives(config: Option<OneOrMany>, at: &Pointer, problems: &mut Problems) -> Option<Vec<String>> {
    let OneOrMany(texts) = config?;
    if texts.is_empty() {
        problems.add(at, "must not be empty");
    }
    for (i, text) in texts.iter().enumerate() {
        if text.is_empty() {
            problems.add(if texts.len() == 1 { at.clone() } else { at.then(i) }, "must not be empty");
        }
    }
    Some(texts)
}
