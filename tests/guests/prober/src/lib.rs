//! Tries to read and to edit everything that there is of an exchange, and writes one line about each phase to the sink `own`.

use plugin_sdk::{
    Body, BodyError, Decision, Edit, Edits, Error, Item, Observer, Outcome, Plugin, Problems, Reply, Request,
    RequestBodyFilter, RequestFilter, Response, ResponseDecision, ResponseFilter, Selection, export_plugin,
    serde_json::{self, json},
    sinks,
};

/// What it tries to read and edit, in all phases.
const NAMES: [&str; 11] = [
    "authorization",
    "Cookie",
    "host",
    "proxy-authorization",
    "x-forwarded-for",
    "traceparent",
    "x-lang",
    "x_lang",
    "x-acme-user",
    "x-secret",
    "location",
];
const ATTRIBUTES: [&str; 3] = ["secret.note", "acme.tier", "gateway.upstream"];

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "do")]
    deed: Deed,
}

#[derive(Clone, Copy, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Reads.
    Look,
    /// Edits, with the value `forged`.
    Edit,
    /// Responds with headers and a body.
    Respond,
    /// Has lists of edits of every header, and traps.
    Trap,
    /// Sets the attributes `secret.note` and `acme.tier`.
    Note,
    /// Sets the request header `x-note` to the attribute `secret.note`.
    Show,
}

struct Prober {
    deed: Deed,
    selection: Selection,
    edits: Edits,
}

impl Plugin for Prober {
    type Config = Config;

    fn new(Config { deed }: Config) -> Result<Self, Problems> {
        let named = NAMES.into_iter().flat_map(|name| {
            let name = name.to_owned();
            [Item::Header(name.clone()), Item::ResponseHeader(name)]
        });
        let attributes = ATTRIBUTES.iter().map(|key| Item::Attribute((*key).to_owned()));
        let rest = [
            Item::Authority,
            Item::Path,
            Item::Query,
            Item::OriginalTarget,
            Item::PathParameter("rest".to_owned()),
            Item::Method,
            Item::ResponseStatus,
        ];
        let selection = Selection::new(&named.chain(attributes).chain(rest).collect::<Vec<_>>());
        let edits = NAMES.into_iter().flat_map(|name| {
            [
                Edit::append_header(name).always("forged"),
                Edit::set_header(name).always("forged"),
                Edit::append_response_header(name).always("forged"),
                Edit::set_response_header(name).always("forged"),
                Edit::default_response_header(name).always("forged"),
                Edit::join_response_header(name).always("forged"),
            ]
        });
        let removals = NAMES
            .into_iter()
            .filter(|name| !name.starts_with("x-acme"))
            .flat_map(|name| [Edit::remove_header(name), Edit::remove_response_header(name)]);
        let attributes = ATTRIBUTES.into_iter().map(|key| Edit::set_attribute(key).always("forged"));
        let edits = Edits::new(&edits.chain(removals).chain(attributes).collect::<Vec<_>>());
        Ok(Self { deed, selection, edits })
    }
}

impl RequestFilter for Prober {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        match self.deed {
            Deed::Look => {
                self.look("request", request, None);
                return Ok(Decision::ReadBody);
            }
            Deed::Edit => self.edit("request", request, None),
            Deed::Respond => {
                let reply = Reply::new(403).with_header("x-acme-user", "mine").with_header("x-secret", "forged");
                return Ok(reply.with_body("text/plain", "forged").into());
            }
            Deed::Trap => {
                let _ = self.edits.apply(request, None, std::iter::empty());
                return Err(Error::new("failed on purpose"));
            }
            Deed::Note => {
                request.set_attribute("secret.note", "s3cret")?;
                request.set_attribute("acme.tier", "gold")?;
            }
            Deed::Show => request.set_header("x-note", request.attribute("secret.note").unwrap_or_default())?,
        }
        Ok(Decision::Next)
    }
}

impl RequestBodyFilter for Prober {
    fn on_request_body(&mut self, _: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        let body = body?;
        let (bytes, trailers) = (String::from_utf8_lossy(&body.bytes), lines(body.trailers));
        report(&json!({ "phase": "request-body", "body": bytes, "trailers": trailers }));
        Ok(Decision::Next)
    }
}

impl ResponseFilter for Prober {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        match self.deed {
            Deed::Look => self.look("response", request, Some(response)),
            Deed::Edit => self.edit("response", request, Some(response)),
            _ => {}
        }
        Ok(ResponseDecision::Next)
    }
}

impl Observer for Prober {
    fn on_complete(&mut self, request: &Request, response: Option<&Response>, _: &Outcome) {
        if self.deed == Deed::Look {
            self.look("complete", request, response);
        }
    }
}

impl Prober {
    fn look(&self, phase: &str, request: &Request, response: Option<&Response>) {
        let shown = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
        let values = |values: Vec<Vec<u8>>| -> Vec<String> {
            values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
        };
        let selected = self.selection.read(request, response);
        let selected: Vec<_> = selected.iter().map(|value| shown(value.map(<[u8]>::to_vec))).collect();
        let named: Vec<_> = NAMES
            .iter()
            .map(|name| {
                json!([
                    name,
                    shown(request.header_bytes(name)),
                    values(request.header_values(name)),
                    response.map(|response| shown(response.header_bytes(name))),
                    response.map(|response| values(response.header_values(name))),
                ])
            })
            .collect();
        report(&json!({
            "phase": phase,
            "method": request.method(),
            "head": [request.authority(), request.path(), request.original_target()],
            "query": request.query(),
            "parameter": request.path_parameter("rest"),
            "trace": request.trace_parent(),
            "named": named,
            "request": lines(request.headers()),
            "response": response.map(|response| lines(response.headers())),
            "attributes": ATTRIBUTES.map(|key| request.attribute(key)),
            "selected": selected,
        }));
    }

    fn edit(&self, phase: &str, request: &Request, response: Option<&Response>) {
        let mut results = Vec::new();
        let mut note = |what: &str, result: String| results.push(format!("{what} {result}"));
        for name in NAMES {
            if let Some(response) = response {
                note(name, format!("{:?}", response.append_header(name, "forged")));
                note(name, format!("{:?}", response.set_header(name, "forged")));
                if !name.starts_with("x-acme") {
                    note(name, format!("{:?}", response.remove_header(name)));
                }
            } else {
                note(name, format!("{:?}", request.append_header(name, "forged")));
                note(name, format!("{:?}", request.set_header(name, "forged")));
                if !name.starts_with("x-acme") {
                    note(name, format!("{:?}", request.remove_header(name)));
                }
            }
        }
        match response {
            Some(response) => {
                note(":status", format!("{:?}", response.set_status(299)));
                note("body", format!("{:?}", response.replace_body("forged")));
            }
            None => {
                note(":method", format!("{:?}", request.set_method("PUT")));
                note(":path", format!("{:?}", request.set_path_with_query("/forged")));
                note("body", format!("{:?}", request.replace_body("forged")));
            }
        }
        for key in ATTRIBUTES {
            note(key, format!("{:?}", request.set_attribute(key, "forged")));
            note(key, format!("{:?}", request.remove_attribute(key)));
        }
        note("edits", format!("{:?}", self.edits.apply(request, response, std::iter::empty())));
        report(&json!({ "phase": phase, "results": results }));
    }
}

fn lines(fields: Vec<(String, Vec<u8>)>) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
}

fn report(line: &serde_json::Value) {
    if let Err(error) = sinks::write("own", line.to_string().as_bytes()) {
        plugin_sdk::error!("{error}");
    }
}

export_plugin!(Prober: request, request_body, response, observe);
