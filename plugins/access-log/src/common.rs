//! Common and Combined Log Format, as web servers write them:
//! `client - user [time] "request line" status bytes "referer" "user-agent"`.

use plugin_sdk::{Problems, Request, Response, Selection, Values};

use crate::{
    Facts,
    config::Config,
    digits::number,
    escape,
    redact::Redaction,
    source::{Source, Value, select},
    time,
};

/// A line's layout.
pub struct Common {
    user: Option<Source>,
    combined: bool,
    /// What a line reads, in its order.
    selection: Selection,
    redaction: Redaction,
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
        let mut sources = vec![Source::ClientAddress];
        sources.extend(user.clone());
        sources.extend([Source::Method, Source::OriginalTarget, Source::Protocol]);
        if combined {
            sources.extend(["referer", "user-agent"].map(|name| Source::Header(name.to_owned())));
        }
        let selection = select(sources.iter(), "/user", problems);
        let redaction = Redaction::new(&config.redact_query);
        Self { user, combined, selection, redaction, max_value: config.max_value.0 }
    }

    pub fn read(&self, request: &Request, response: Option<&Response>) -> Values {
        self.selection.read(request, response)
    }

    pub fn write(&self, facts: &Facts<'_>, values: &Values, out: &mut Vec<u8>) {
        let Facts { request, outcome } = facts;
        let mut read = values.iter();
        escape::common(read.next().flatten().unwrap_or_default(), false, out);
        out.extend_from_slice(b" - ");
        // A field outside quotation marks.
        match self.user.as_ref().map_or(Value::Missing, |user| user.value(facts, &mut read, out)) {
            Value::Bytes(value) if !value.is_empty() => {
                let value = self.user.as_ref().map(|user| self.redaction.apply(user, value)).unwrap_or_default();
                escape::common(&escape::cut(&value, self.max_value), false, out);
            }
            Value::Verbatim => {}
            Value::Bytes(_) | Value::Missing => out.push(b'-'),
        }
        out.extend_from_slice(b" [");
        time::common(request.received_at(), out);
        out.extend_from_slice(b"] \"");
        for separator in ["", " ", " "] {
            out.extend_from_slice(separator.as_bytes());
            let part = read.next().flatten().unwrap_or_default();
            // Of the three only the target can have a query.
            escape::common(&escape::cut(&self.redaction.target(part), self.max_value), false, out);
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
            for _ in ["referer", "user-agent"] {
                out.extend_from_slice(b" \"");
                match read.next().flatten() {
                    // A user agent has no query, and a question mark rarely.
                    Some(value) => {
                        escape::common(&escape::cut(&self.redaction.target(value), self.max_value), true, out);
                    }
                    None => out.push(b'-'),
                }
                out.push(b'"');
            }
        }
    }
}
