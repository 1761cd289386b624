//! A provider, a browser and the plugin between them.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use plugin_jose::base64::encode_url;
use plugin_sdk::{
    Reply,
    http_client::{Call, CallError},
    query,
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse},
};
use serde_json::{Value, json};

use crate::Oidc;

/// The clock of a fresh [`TestHost`], in seconds.
pub(super) const NOW: i64 = 1_767_225_600;
pub(super) const ISSUER: &str = "https://id.example.com";

/// What the provider does, as the test directs it.
pub(super) struct Provider {
    key: Ed25519KeyPair,
    pub(super) header: Value,
    /// Claims of the next ID token, over the usual ones; null removes one.
    pub(super) claims: Value,
    pub(super) nonce: String,
    /// Members of the metadata, over the usual ones.
    pub(super) metadata: Value,
    /// What the token endpoint answers in place of tokens.
    pub(super) answer: Option<Result<Reply, CallError>>,
    pub(super) expires_in: i64,
    /// Number of the refresh token that is valid; none are issued if it is 0.
    pub(super) generation: u32,
    /// Whether each refresh token is valid once.
    pub(super) rotates: bool,
    codes: Vec<String>,
    pub(super) grants: Vec<BTreeMap<String, String>>,
    pub(super) now: i64,
}

impl Provider {
    fn new() -> Self {
        Self {
            key: Ed25519KeyPair::generate().expect("a key"),
            header: json!({ "alg": "EdDSA", "kid": "k" }),
            claims: json!({}),
            nonce: String::new(),
            metadata: json!({}),
            answer: None,
            expires_in: 600,
            generation: 0,
            rotates: true,
            codes: Vec::new(),
            grants: Vec::new(),
            now: NOW,
        }
    }

    pub(super) fn answer(&mut self, call: &Call) -> Result<Reply, CallError> {
        let reply = |value: &Value| Ok(Reply::new(200).with_json(value).expect("JSON"));
        match call.path_with_query.as_str() {
            "/.well-known/openid-configuration" => {
                let metadata = json!({
                    "issuer": ISSUER,
                    "authorization_endpoint": "https://id.example.com/auth",
                    "token_endpoint": "https://id.example.com/token",
                    "jwks_uri": "https://id.example.com/jwks",
                    "end_session_endpoint": "https://id.example.com/logout?x=1",
                });
                reply(&over(metadata, &self.metadata))
            }
            "/jwks" => {
                let x = encode_url(self.key.public_key().as_ref());
                reply(&json!({ "keys": [{ "kid": "k", "kty": "OKP", "crv": "Ed25519", "x": x }] }))
            }
            "/token" => self.token(call),
            _ => Ok(Reply::new(404)),
        }
    }

    fn token(&mut self, call: &Call) -> Result<Reply, CallError> {
        let body = String::from_utf8(call.body.clone()).expect("a form");
        let mut form: BTreeMap<String, String> =
            query::pairs(&body).map(|(name, value)| (name.to_owned(), query::decode(value).into_owned())).collect();
        if let Some((_, value)) = call.headers.iter().find(|(name, _)| name == "authorization") {
            form.insert("authorization".into(), String::from_utf8_lossy(value).into_owned());
        }
        self.grants.push(form.clone());
        if let Some(answer) = &self.answer {
            return answer.clone();
        }
        let valid = match form["grant_type"].as_str() {
            "authorization_code" => {
                let known = self.codes.contains(&form["code"]);
                self.codes.push(form["code"].clone());
                !known
            }
            _ => self.generation > 0 && form["refresh_token"] == format!("rt-{}", self.generation),
        };
        if !valid {
            return Ok(Reply::new(400).with_json(&json!({ "error": "invalid_grant" })).expect("JSON"));
        }
        let mut tokens = json!({
            "token_type": "Bearer", "access_token": format!("at-{}", self.grants.len()), "expires_in": self.expires_in,
            "id_token": self.id_token(),
        });
        if self.generation > 0 {
            self.generation += u32::from(self.rotates);
            tokens["refresh_token"] = format!("rt-{}", self.generation).into();
        }
        Ok(Reply::new(200).with_json(&tokens).expect("JSON"))
    }

    fn id_token(&self) -> String {
        let claims = json!({
            "iss": ISSUER, "aud": "app", "sub": "anna", "sid": "s-1", "nonce": self.nonce,
            "iat": self.now, "exp": self.now + 600,
        });
        self.sign(&over(claims, &self.claims))
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let text =
            format!("{}.{}", encode_url(self.header.to_string().as_bytes()), encode_url(claims.to_string().as_bytes()));
        format!("{text}.{}", encode_url(self.key.sign(text.as_bytes()).as_ref()))
    }
}

fn over(mut value: Value, more: &Value) -> Value {
    for (name, more) in more.as_object().expect("an object") {
        match more {
            Value::Null => drop(value.as_object_mut().expect("an object").remove(name)),
            more => value[name] = more.clone(),
        }
    }
    value
}

/// A gateway with the plugin, and a provider.
pub(super) struct World {
    pub(super) host: TestHost,
    pub(super) plugin: TestPlugin<Oidc>,
    pub(super) provider: Rc<RefCell<Provider>>,
}

/// A configuration with further options.
pub(super) fn config(more: Value) -> Value {
    let config = json!({
        "providers": [{ "name": "main", "issuer": ISSUER, "upstream": "id", "client-id": "app" }],
        "keys": ["key"],
        "claims-to-headers": { "x-user": "sub" },
    });
    over(config, &more)
}

pub(super) fn host() -> TestHost {
    let host = TestHost::new();
    host.set_secret_to_use("key", [7; 32]);
    host.set_secret_to_use("new-key", [8; 32]);
    host.set_secret("client-secret", "s&cret");
    host
}

impl World {
    pub(super) fn new(more: Value) -> Self {
        let host = host();
        let provider = Rc::new(RefCell::new(Provider::new()));
        let answering = Rc::clone(&provider);
        host.answer_calls(move |call| answering.borrow_mut().answer(call));
        let plugin = host.plugin(config(more)).unwrap_or_else(|problems| panic!("{problems}"));
        Self { host, plugin, provider }
    }

    /// The same gateway after a reload, or another one with the same store.
    pub(super) fn reload(&mut self, more: Value) {
        self.plugin = self.host.plugin(config(more)).unwrap_or_else(|problems| panic!("{problems}"));
    }

    pub(super) fn advance(&self, seconds: i64) {
        self.host.advance(std::time::Duration::from_secs(seconds as u64));
        self.provider.borrow_mut().now += seconds;
    }

    pub(super) fn grants(&self) -> usize {
        self.provider.borrow().grants.len()
    }
}

/// A browser with its cookies.
#[derive(Clone, Default)]
pub(super) struct Browser {
    pub(super) cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A navigation.
    pub(super) fn visit(&mut self, world: &mut World, target: &str) -> TestExchange {
        self.send(world, TestRequest::get(target).header("sec-fetch-mode", "navigate"))
    }

    pub(super) fn send(&mut self, world: &mut World, request: TestRequest) -> TestExchange {
        let exchange = world.plugin.request_with_body(self.with_cookies(request));
        self.keep(exchange)
    }

    pub(super) fn with_cookies(&self, request: TestRequest) -> TestRequest {
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if pairs.is_empty() { request } else { request.header("cookie", pairs.join("; ")) };
        request.https().authority("app.example.com")
    }

    /// Keeps the cookies that a response sets.
    pub(super) fn keep(&mut self, exchange: TestExchange) -> TestExchange {
        let set: Vec<String> = match exchange.reply() {
            Some(reply) => {
                let lines = reply.headers.iter().filter(|(name, _)| name == "set-cookie");
                lines.map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
            }
            None => {
                let response = exchange.clone().with_response(TestResponse::new(200));
                let lines = response.response_header_values("set-cookie").into_iter();
                lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
            }
        };
        for line in set {
            let (pair, attributes) = line.split_once("; ").expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            assert!(name.starts_with("__Host-oidc") && line.len() <= 4096, "{line}");
            for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
                assert!(attributes.split("; ").any(|other| other == attribute), "{line}");
            }
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        exchange
    }

    /// Begins a login and returns the parameters that the provider gets.
    pub(super) fn begin(&mut self, world: &mut World, target: &str) -> BTreeMap<String, String> {
        let exchange = self.visit(world, target);
        let location = location(&exchange);
        let (page, parameters) = location.split_once('?').expect("parameters");
        assert_eq!(page, "https://id.example.com/auth");
        let parameters: BTreeMap<_, _> = query::pairs(parameters)
            .map(|(name, value)| (name.to_owned(), query::decode(value).into_owned()))
            .collect();
        world.provider.borrow_mut().nonce.clone_from(&parameters["nonce"]);
        parameters
    }

    /// Comes back from the provider.
    pub(super) fn come_back(&mut self, world: &mut World, state: &str, code: &str) -> TestExchange {
        self.visit(world, &format!("/oidc/callback/main?code={code}&state={state}"))
    }

    /// A whole login.
    pub(super) fn login(&mut self, world: &mut World) {
        let state = self.begin(world, "/oidc/login?return-to=%2Fpage")["state"].clone();
        let exchange = self.come_back(world, &state, &format!("code-of-{state}"));
        assert_eq!(location(&exchange), "/page");
    }
}

/// A browser that is logged in.
pub(super) fn logged_in(world: &mut World) -> Browser {
    let mut browser = Browser::default();
    browser.login(world);
    browser
}

/// Where the browser is sent.
#[track_caller]
pub(super) fn location(exchange: &TestExchange) -> String {
    let reply = exchange.reply().expect("a reply");
    assert!(matches!(reply.status, 302 | 303), "{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
    reply.header("location").expect("a location").into_owned()
}

/// Asserts that a request is refused for this reason.
#[track_caller]
pub(super) fn refused(exchange: &TestExchange, status: u16, reason: &str) -> Reply {
    let reply = exchange.reply().expect("a reply").clone();
    assert_eq!((reply.status, exchange.attribute("oidc.error")), (status, Some(reason)), "{:?}", reply.headers);
    assert_eq!(reply.header("content-type").as_deref(), Some("application/problem+json"));
    assert_eq!(reply.header("cache-control").as_deref(), Some("no-store"));
    reply
}

/// Asserts that a request passes as a user's.
#[track_caller]
pub(super) fn passed(exchange: &TestExchange, user: &str) {
    assert_eq!(exchange.reply(), None, "{:?}", exchange.attribute("oidc.error"));
    assert_eq!(exchange.header("x-user"), Some(user));
    assert_eq!(exchange.attribute("oidc.sub"), Some(user));
    assert_eq!(exchange.attribute("oidc.iss"), Some(ISSUER));
    assert_eq!(exchange.header("cookie"), None, "the upstream gets no cookie of the plugin");
}
