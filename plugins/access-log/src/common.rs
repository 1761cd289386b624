//! Common and Combined Log Format, as web servers write them:
//! `client - user [time] "request line" status bytes "referer" "user-agent"`.

use plugin_sdk::Problems;

use crate::{
    Facts,
    config::Config,
    digits::number,
    escape,
    source::{Source, Value},
    time,
};

/// A line's layout.
pub struct Common {
    user: Option<Source>,
    combined: bool,
    max_value: usize,
}

impl Common {
    pub fn new(config: &Config, combined: bool, problems: &mut Problems) -> Self {
        let only_json = [
            ("/fields", config.fields.is_some()),
            ("/rename", !config.rename.is_empty()),
            ("/static", !config.constants.is_empty()),
        ];
        for (at, given) in only_json {
            if given {
                problems.add(at, "is for `format: json`; the members of this format are fixed");
            }
        }
        let user = config.user.as_deref().and_then(|user| problems.note("/user", Source::parse(user)));
        Self { user, combined, max_value: config.max_value.0 }
    }

    pub fn write(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let Facts { request, outcome, .. } = facts;
        escape::common(request.client_address().as_bytes(), false, out);
        out.extend_from_slice(b" - ");
        self.field(self.user.as_ref(), facts, out);
        out.extend_from_slice(b" [");
        time::common(request.received_at(), out);
        out.extend_from_slice(b"] \"");
        for (separator, part) in
            ["", " ", " "].into_iter().zip([request.method(), request.original_target(), request.protocol()])
        {
            out.extend_from_slice(separator.as_bytes());
            let mut part = part.into_bytes();
            escape::cut(&mut part, self.max_value);
            escape::common(&part, false, out);
        }
        out.extend_from_slice(b"\" ");
        number(facts.status().into(), out);
        out.push(b' ');
        match outcome.response_bytes {
            // A hyphen, as Apache's `%b`.
            0 => out.push(b'-'),
            bytes => number(bytes, out),
        }
        if self.combined {
            for name in ["referer", "user-agent"] {
                out.extend_from_slice(b" \"");
                match request.header_bytes(name) {
                    Some(mut value) => {
                        escape::cut(&mut value, self.max_value);
                        escape::common(&value, true, out);
                    }
                    None => out.push(b'-'),
                }
                out.push(b'"');
            }
        }
    }

    /// A field outside quotation marks.
    fn field(&self, source: Option<&Source>, facts: &Facts<'_>, out: &mut Vec<u8>) {
        match source.map_or(Value::Missing, |source| source.value(facts, out)) {
            Value::Bytes(mut value) if !value.is_empty() => {
                escape::cut(&mut value, self.max_value);
                escape::common(&value, false, out);
            }
            Value::Verbatim => {}
            Value::Bytes(_) | Value::Missing => out.push(b'-'),
        }
    }
}
