//! Gives each request an identifier in a header and a form that others expect, beside the gateway's own.

#[cfg(test)]
mod tests;

use plugin_sdk::{
    Decision, Edit, Edits, Error, Plugin, Problems, Request, RequestFilter, export_plugin, names, serde_json,
};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Which header the identifier is in, what it looks like, and whom it is taken from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[schemars(example = serde_json::json!({ "header": "x-correlation-id", "accept": "valid", "format": "uuid" }))]
struct Config {
    /// The header, on the request and on the response.
    header: String,
    /// Whether an identifier sent by the client is accepted.
    accept: Accept,
    /// The format that an identifier must have to be accepted.
    format: Format,
    /// How new identifiers are generated.
    generator: Generator,
    /// Whether the response has the identifier in the same header.
    echo: bool,
}

/// Whether an identifier that came along is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Accept {
    /// Never: each request gets a new one.
    Never,
    /// If it is alone and has the form.
    Valid,
    /// As `valid`, and a request with one that is not valid is answered with 400.
    ValidOnly,
}

/// What an identifier looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Format {
    /// A UUID of any version in its usual form (RFC 9562 §4), in upper or lower case.
    Uuid,
    /// 1 to 128 letters, digits, `-`, `_`, `.`, `~`, `:`, `/`, `+`, `=`.
    Text,
}

/// How new identifiers are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Generator {
    /// A UUID that sorts by time (RFC 9562 §5.7).
    UuidV7,
    /// The gateway's own identifier of the exchange.
    Gateway,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header: "x-correlation-id".into(),
            accept: Accept::Valid,
            format: Format::Uuid,
            generator: Generator::UuidV7,
            echo: true,
        }
    }
}

/// Where later plugins find it.
const ATTRIBUTE: &str = "request-id";

struct RequestId {
    config: Config,
    /// Of the request, of the exchange, and of the response.
    edits: Edits,
}

impl Plugin for RequestId {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        problems.note("/header", names::check_settable_header(&config.header));
        if config.format == Format::Uuid && config.generator == Generator::Gateway && config.accept != Accept::Never {
            problems
                .add("/generator", "makes what `format: uuid` would not keep at the next gateway; use `format: text`");
        }
        let mut edits = vec![Edit::set_header(config.header.as_str()), Edit::set_attribute(ATTRIBUTE)];
        if config.echo {
            edits.push(Edit::set_response_header(config.header.as_str()));
        }
        problems.or(edits).map(|edits| Self { config, edits: Edits::new(&edits) })
    }
}

impl RequestFilter for RequestId {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let sent =
            if self.config.accept == Accept::Never { Vec::new() } else { request.header_values(&self.config.header) };
        let valid = match &sent[..] {
            [one] => std::str::from_utf8(one).ok().filter(|text| self.config.format.fits(text)),
            _ => None,
        };
        let id = match valid {
            Some(id) => id.to_owned(),
            None if self.config.accept == Accept::ValidOnly && !sent.is_empty() => {
                let detail = format!("the header `{}` is not one valid identifier", self.config.header);
                let problem = plugin_sdk::Problem::new(400).detail(&detail).member("request-id", request.id());
                return Ok(problem.into());
            }
            None => self.config.generator.next(request),
        };
        // Several values, or one in another case of a name, are one afterwards.
        let id = Some(id.as_bytes());
        self.edits.apply(request, None, [id; 3])?;
        Ok(Decision::Next)
    }
}

export_plugin!(RequestId: request);

impl Format {
    fn fits(self, text: &str) -> bool {
        match self {
            Self::Uuid => {
                let is_dash = |i: usize| matches!(i, 8 | 13 | 18 | 23);
                let fits = |(i, b): (usize, u8)| if is_dash(i) { b == b'-' } else { b.is_ascii_hexdigit() };
                text.len() == 36 && text.bytes().enumerate().all(fits)
            }
            Self::Text => {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:/+=".contains(&b);
                (1..=128).contains(&text.len()) && text.bytes().all(fits)
            }
        }
    }
}

impl Generator {
    fn next(self, request: &Request) -> String {
        match self {
            Self::Gateway => request.id(),
            // The gateway's identifiers do not repeat, so neither does what is made of them; and no instance has to
            // remember what it made.
            Self::UuidV7 => uuid_v7(request.received_at(), &request.id()),
        }
    }
}

/// Milliseconds, and 74 bits of a digest (RFC 9562 §5.7).
fn uuid_v7(millis: u64, id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest[..10]);
    bytes[6] = 0x70 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text
}
