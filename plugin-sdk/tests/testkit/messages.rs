//! Messages by the gateway's rules.

use plugin_sdk::{
    Error, MessageFilter, NoConfig, Observer, Outcome, Plugin, Problems, Request, Response, ResponseDecision,
    ResponseFilter,
    messages::{Message, MessageResult, Sender, ServerSentEvent},
    serde_json::json,
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse},
};

/// Returns what the text says.
struct Told(Option<Vec<u8>>);

impl Plugin for Told {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        Ok(Self(None))
    }
}

impl ResponseFilter for Told {
    fn on_response(&mut self, _: &Request, _: &Response) -> Result<ResponseDecision, Error> {
        Ok(ResponseDecision::StreamMessages(b"0".to_vec()))
    }
}

impl MessageFilter for Told {
    fn on_message(&mut self, _: Sender, message: Message, state: &[u8]) -> Result<MessageResult, Error> {
        Ok(match message.as_text() {
            Some("reply") => MessageResult::drop().with_reply("replied"),
            Some("close") => MessageResult::pass().with_close(1005, ""),
            Some("event") => MessageResult::replace(Message::event("x")),
            Some("lines") => {
                MessageResult::replace(ServerSentEvent { id: Some("1\n2".to_owned()), ..ServerSentEvent::default() })
            }
            Some("large") => MessageResult::pass().with_state(vec![0; 65_537]),
            Some("fail") => return Err(Error::new("as it was told")),
            _ => MessageResult::pass().with_state([state, b"1"].concat()),
        })
    }
}

impl Observer for Told {
    fn on_complete(&mut self, _: &Request, _: Option<&Response>, outcome: &Outcome) {
        self.0.clone_from(&outcome.message_state);
    }
}

fn with(response: TestResponse) -> Result<(TestPlugin<Told>, TestExchange), Error> {
    let mut plugin = TestHost::new().plugin::<Told>(json!({})).unwrap();
    let mut exchange = TestExchange::new(TestRequest::get("/"));
    plugin.try_response(&mut exchange, response)?;
    Ok((plugin, exchange))
}

#[test]
fn only_websockets_and_readable_event_streams_have_messages() {
    assert!(with(TestResponse::websocket()).is_ok() && with(TestResponse::event_stream()).is_ok());
    assert!(with(TestResponse::new(200)).is_err());
    assert!(with(TestResponse::event_stream().header("content-encoding", "gzip")).is_err());
}

#[test]
fn what_the_gateway_refuses_is_an_error_and_the_state_stays() {
    let (mut plugin, mut exchange) = with(TestResponse::websocket()).unwrap();
    assert_eq!(plugin.message(&mut exchange, Sender::Upstream, "x").to_client, [Message::text("x")]);
    for refused in ["close", "event", "large", "fail"] {
        assert!(plugin.try_message(&mut exchange, Sender::Client, refused).is_err(), "{refused}");
    }
    plugin.complete(&mut exchange, &Outcome::default());
    assert_eq!(plugin.inner().0.as_deref(), Some(b"01".as_slice()));
}

#[test]
fn an_event_stream_has_events_and_takes_no_replies() {
    let (mut plugin, mut exchange) = with(TestResponse::event_stream()).unwrap();
    let passed = plugin.message(&mut exchange, Sender::Upstream, Message::event("x"));
    assert_eq!(passed.to_client, [Message::event("x")]);
    for refused in [Message::event("reply"), Message::event("lines"), Message::text("x")] {
        assert!(plugin.try_message(&mut exchange, Sender::Upstream, refused.clone()).is_err(), "{refused:?}");
    }
}
