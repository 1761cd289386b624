//! Text with placeholders, parsed once.

use plugin_sdk::{Request, Response};

/// A template, ready to be filled in.
#[derive(Debug, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Value { source: Source, default: Option<String> },
}

/// Where a value comes from.
#[derive(Debug, PartialEq)]
enum Source {
    PathParameter(String),
    /// As it stands in the path, percent-encoded. The name has a `*` before it, by which the gateway knows it.
    RawPathParameter(String),
    Attribute(String),
    Header(String),
    QueryParameter(String),
    ResponseHeader(String),
    ResponseStatus,
    ClientAddress,
    RequestId,
    Method,
    Scheme,
    Authority,
    Path,
    Query,
    OriginalTarget,
    Protocol,
    Route,
}

/// Placeholders without a name of the operator's choosing.
const PLAIN: [(&str, Source); 11] = [
    ("authority", Source::Authority),
    ("client.address", Source::ClientAddress),
    ("method", Source::Method),
    ("original-target", Source::OriginalTarget),
    ("path", Source::Path),
    ("protocol", Source::Protocol),
    ("query", Source::Query),
    ("request.id", Source::RequestId),
    ("response.status", Source::ResponseStatus),
    ("route", Source::Route),
    ("scheme", Source::Scheme),
];

/// Which side a template is evaluated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Request,
    Response,
}

/// How values are written, so that none can mean more than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Control characters are percent-encoded: no header can carry them, and CR and LF would end it.
    Header,
    /// Everything but a segment's characters is percent-encoded (RFC 3986 §3.3).
    Path,
    /// Everything but unreserved characters is percent-encoded.
    Query,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// A text for the operator.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, String> {
        if let Some(control) = text.chars().find(|c| c.is_ascii_control() && *c != '\t') {
            return Err(format!("control character {control:?} in the text"));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
            } else if brace == "}" {
                return Err("`}` without `{`; write `}}` for a brace".to_owned());
            } else {
                let (inside, after) = rest.split_once('}').ok_or("`{` without `}`; write `{{` for a brace")?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(placeholder(inside, scope)?);
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// The text, if it is always the same.
    pub fn constant(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the first part is this character.
    pub fn starts_with(&self, first: char) -> bool {
        matches!(self.0.first(), Some(Part::Text(text)) if text.starts_with(first))
    }

    /// The literal text, without placeholders.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Value { .. } => None,
        })
    }

    /// Writes the text with its values; false, and possibly a part of it written, if one is missing.
    pub fn render(
        &self,
        request: &Request,
        response: Option<&Response>,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> bool {
        self.0.iter().all(|part| match part {
            Part::Text(text) if encoding == Encoding::Query => {
                encode(text.as_bytes(), encoding, false, out);
                true
            }
            Part::Text(text) => {
                out.extend_from_slice(text.as_bytes());
                true
            }
            Part::Value { source, default } => {
                let keep_slashes = matches!(source, Source::RawPathParameter(_) | Source::Path);
                let value = match source {
                    // A value of a query is text: its reader decodes it once.
                    Source::RawPathParameter(name) if encoding == Encoding::Query => {
                        request.path_parameter(name.trim_start_matches('*')).map(String::into_bytes)
                    }
                    source => source.value(request, response),
                };
                match value {
                    // Percent-encoded already.
                    Some(value) if keep_slashes && encoding == Encoding::Path => out.extend_from_slice(&value),
                    Some(value) => encode(&value, encoding, keep_slashes, out),
                    None => match default {
                        Some(default) => encode(default.as_bytes(), encoding, keep_slashes, out),
                        None => return false,
                    },
                }
                true
            }
        })
    }
}

/// What stands between braces.
fn placeholder(inside: &str, scope: Scope) -> Result<Part, String> {
    let (name, default) = match inside.split_once('|') {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inside, None),
    };
    let source = source(name)?;
    let of_response = matches!(source, Source::ResponseHeader(_) | Source::ResponseStatus);
    if of_response && scope == Scope::Request {
        return Err(format!("`{{{name}}}` is not there yet in the request phase"));
    }
    Ok(Part::Value { source, default })
}

fn source(name: &str) -> Result<Source, String> {
    if let Some((_, plain)) = PLAIN.into_iter().find(|(known, _)| *known == name) {
        return Ok(plain);
    }
    let named = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(str::to_owned);
    let header = |name: String| {
        if crate::headers::is_name(&name) { Ok(name) } else { Err(format!("`{name}` is not a header name")) }
    };
    if let Some(name) = named("path.") {
        return Ok(match name.strip_prefix('*') {
            Some(_) => Source::RawPathParameter(name),
            None => Source::PathParameter(name),
        });
    }
    if let Some(key) = named("attribute.") {
        return Ok(Source::Attribute(key));
    }
    if let Some(name) = named("header.") {
        return header(name).map(Source::Header);
    }
    if let Some(name) = named("response.header.") {
        return header(name).map(Source::ResponseHeader);
    }
    if let Some(name) = named("query.") {
        return Ok(Source::QueryParameter(name));
    }
    let plain: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
    Err(format!(
        "unknown placeholder `{{{name}}}`; there are path.NAME, attribute.KEY, header.NAME, query.NAME, \
         response.header.NAME, {}",
        plain.join(", "),
    ))
}

impl Source {
    fn value(&self, request: &Request, response: Option<&Response>) -> Option<Vec<u8>> {
        let text = match self {
            Self::Header(name) => return request.header_bytes(name),
            Self::ResponseHeader(name) => return response?.header_bytes(name),
            Self::PathParameter(name) | Self::RawPathParameter(name) => request.path_parameter(name)?,
            Self::Attribute(key) => request.attribute(key)?,
            Self::QueryParameter(name) => request.query_parameter(name)?,
            Self::ResponseStatus => response?.status().to_string(),
            Self::ClientAddress => request.client_address(),
            Self::RequestId => request.id(),
            Self::Method => request.method(),
            Self::Scheme => request.scheme(),
            Self::Authority => request.authority(),
            Self::Path => request.path(),
            Self::Query => request.query()?,
            Self::OriginalTarget => request.original_target(),
            Self::Protocol => request.protocol(),
            Self::Route => request.route(),
        };
        Some(text.into_bytes())
    }
}

/// Writes what `encoding` allows as it is and the rest percent-encoded.
fn encode(value: &[u8], encoding: Encoding, keep_slashes: bool, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &octet in value {
        let unreserved = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        let as_it_is = match encoding {
            Encoding::Header => !octet.is_ascii_control() || octet == b'\t',
            Encoding::Path => unreserved || b"!$&'()*+,;=:@".contains(&octet) || (keep_slashes && octet == b'/'),
            Encoding::Query => unreserved,
        };
        if as_it_is {
            out.push(octet);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
    }
}

/// Values computed one after another into one buffer.
#[derive(Default)]
pub struct Values {
    bytes: Vec<u8>,
    /// Where each value ends; none where it is missing.
    ends: Vec<(usize, bool)>,
}

impl Values {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Computes a header's value.
    pub fn push(&mut self, template: &Template, request: &Request, response: Option<&Response>) {
        let start = self.bytes.len();
        let there = template.render(request, response, Encoding::Header, &mut self.bytes);
        if !there {
            self.bytes.truncate(start);
        }
        self.ends.push((self.bytes.len(), there));
    }

    /// The values in the order in which they were computed.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, (end, there))| there.then(|| &self.bytes[start..*end]))
    }
}
