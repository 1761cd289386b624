//! Lets in who has a key, and tells the upstream who it is.

use std::collections::BTreeMap;

use plugin_sdk::{Decision, Error, Plugin, Problem, Problems, Request, RequestFilter, export_plugin};

/// Who is let in.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The clients' names by their keys, as they send them in `x-api-key`.
    keys: BTreeMap<String, String>,
}

struct Hello(Config);

impl Plugin for Hello {
    type Config = Config;
    const NAME: &'static str = "hello";
    fn new(config: Config) -> Result<Self, Problems> {
        if config.keys.is_empty() { Err(Problems::one("/keys", "needs at least one key")) } else { Ok(Self(config)) }
    }
}

impl RequestFilter for Hello {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let Some(name) = request.header("x-api-key").and_then(|key| self.0.keys.get(&key)) else {
            return Ok(Problem::new(401).detail("unknown API key").into());
        };
        request.set_header("x-client", name)?;
        Ok(Decision::Next)
    }
}

export_plugin!(Hello: request);

#[cfg(test)]
mod tests {
    use plugin_sdk::testkit::{TestHost, TestPlugin, TestRequest};
    use serde_json::json;

    use super::*;

    fn hello() -> TestPlugin<Hello> {
        TestHost::new().plugin(json!({ "keys": { "k-123": "anna" } })).unwrap()
    }

    #[test]
    fn who_has_a_key_goes_on_under_its_name() {
        let request = TestRequest::get("/").header("x-api-key", "k-123").header("x-client", "somebody else");
        let exchange = hello().request(request);
        assert!(exchange.reply().is_none());
        assert_eq!(exchange.header_values("x-client"), [b"anna"]);
    }

    #[test]
    fn a_stranger_is_turned_away() {
        for request in [TestRequest::get("/"), TestRequest::get("/").header("x-api-key", "guessed")] {
            assert_eq!(hello().request(request).reply().unwrap().status, 401);
        }
    }

    #[test]
    fn no_keys_at_all_are_a_mistake() {
        let problems = TestHost::new().plugin::<Hello>(json!({ "keys": {} })).err().unwrap();
        assert_eq!(problems.to_string(), "/keys: needs at least one key");
    }
}
