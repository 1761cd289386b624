//! Does what messages say that begin with its name and a colon, and adds its name to all others.

use std::hint::black_box;

use plugin_sdk::{
    Error, MessageFilter, Observer, Outcome, Plugin, Problems, Request, Response, ResponseDecision, ResponseFilter,
    export_plugin,
    messages::{Message, MessageResult, Sender, ServerSentEvent},
    sinks,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    name: String,
    /// Gets the last state of each connection.
    #[serde(default)]
    sink: Option<String>,
    /// Asks for the messages of every response, whatever it is.
    #[serde(default)]
    always: bool,
}

struct Messenger(Config);

impl Plugin for Messenger {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        Ok(Self(config))
    }
}

impl ResponseFilter for Messenger {
    fn on_response(&mut self, _: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let has_events = response.header("content-type").is_some_and(|value| value.starts_with("text/event-stream"));
        let asks = self.0.always || response.status() == 101 || has_events;
        Ok(if asks { ResponseDecision::StreamMessages(b"0".to_vec()) } else { ResponseDecision::Next })
    }
}

impl MessageFilter for Messenger {
    fn on_message(&mut self, _: Sender, message: Message, state: &[u8]) -> Result<MessageResult, Error> {
        let Config { name, .. } = &self.0;
        let count: u32 = String::from_utf8_lossy(state).parse().unwrap_or_default();
        let result = match &message {
            Message::Binary(_) => MessageResult::pass(),
            Message::Text(said) | Message::Event(ServerSentEvent { data: said, .. }) => {
                let like = |text: String| match &message {
                    Message::Event(event) => Message::Event(ServerSentEvent { data: text, ..event.clone() }),
                    _ => Message::Text(text),
                };
                let own = said.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(':'));
                match own {
                    None => MessageResult::replace(like(format!("{said}{name}"))),
                    Some("pass") => MessageResult::pass(),
                    Some("drop") => MessageResult::drop(),
                    Some("two") => MessageResult::replace(like("one".to_owned())).with_output(like("two".to_owned())),
                    Some("reply") => MessageResult::drop().with_reply(like(format!("reply of {name}"))),
                    Some("count") => MessageResult::drop().with_reply(like(count.to_string())),
                    Some("binary") => MessageResult::replace(vec![0, 255]),
                    Some("event") => MessageResult::replace(Message::event("x")),
                    Some("large-state") => MessageResult::pass().with_state(vec![0; 65_537]),
                    Some("close") => MessageResult::drop().with_reply(like("last".to_owned())).with_close(4001, "bye"),
                    Some("close-events") => MessageResult::pass().with_close(1000, ""),
                    Some("wrong-close") => MessageResult::pass().with_close(1005, ""),
                    Some("trap") => panic!("as it was told"),
                    Some("loop") => {
                        let mut turns = 0_u64;
                        loop {
                            turns = black_box(turns.wrapping_add(1));
                        }
                    }
                    // Such as a command to the next plugin.
                    Some(other) if other.starts_with("say ") => {
                        MessageResult::replace(like(other["say ".len()..].to_owned()))
                    }
                    Some(other) => return Err(Error::new(format!("cannot {other}"))),
                }
            }
        };
        Ok(if result.state.is_some() { result } else { result.with_state((count + 1).to_string()) })
    }
}

impl Observer for Messenger {
    fn on_complete(&mut self, _: &Request, _: Option<&Response>, outcome: &Outcome) {
        if let (Some(sink), Some(state)) = (&self.0.sink, &outcome.message_state) {
            let failure = outcome.failure.as_deref().unwrap_or("-");
            let _ = sinks::write(sink, format!("messages {} {failure}", String::from_utf8_lossy(state)).as_bytes());
        }
    }
}

export_plugin!(Messenger: response, messages, observe);
