//! Replaces words in the messages of a chat over WebSocket, answers `ping`, and limits the messages of each connection.

use plugin_sdk::{
    Error, MessageFilter, Plugin, Problems, Request, Response, ResponseDecision, ResponseFilter, export_plugin,
    messages::{Message, MessageResult, Sender},
};

/// What is allowed.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Words that are replaced in messages.
    words: Vec<String>,
    /// The messages that a client may send on one connection.
    #[serde(default = "thousand")]
    max_messages: u32,
}

fn thousand() -> u32 {
    1000
}

struct Chat(Config);

impl Plugin for Chat {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        if config.words.iter().any(String::is_empty) {
            return Err(Problems::one("/words", "a word must not be empty"));
        }
        Ok(Self(config))
    }
}

impl ResponseFilter for Chat {
    fn on_response(&mut self, _: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        // Other responses pass: the service may refuse the handshake.
        let is_websocket = response.status() == 101;
        let none_yet = 0_u32.to_be_bytes().to_vec();
        Ok(if is_websocket { ResponseDecision::StreamMessages(none_yet) } else { ResponseDecision::Next })
    }
}

impl MessageFilter for Chat {
    fn on_message(&mut self, sender: Sender, message: Message, state: &[u8]) -> Result<MessageResult, Error> {
        let text = message.as_text();
        if sender == Sender::Upstream {
            return Ok(text
                .and_then(|text| self.cleaned(text))
                .map_or_else(MessageResult::pass, MessageResult::replace));
        }
        // Another instance may get the next message, so the gateway keeps the count.
        let count = u32::from_be_bytes(state.try_into()?) + 1;
        if count > self.0.max_messages {
            return Ok(MessageResult::drop().with_close(1008, "too many messages"));
        }
        let result = match text {
            Some("ping") => MessageResult::drop().with_reply("pong"),
            Some(text) => self.cleaned(text).map_or_else(MessageResult::pass, MessageResult::replace),
            None => MessageResult::drop().with_close(1003, "this chat has text messages only"),
        };
        Ok(result.with_state(count.to_be_bytes()))
    }
}

impl Chat {
    /// The text without the words; `None` if it has none of them, so that it passes without a copy.
    fn cleaned(&self, text: &str) -> Option<String> {
        let found = self.0.words.iter().filter(|word| text.contains(*word));
        found.fold(None, |cleaned: Option<String>, word| {
            let text = cleaned.as_deref().unwrap_or(text);
            Some(text.replace(word, &"*".repeat(word.chars().count())))
        })
    }
}

export_plugin!(Chat: response, messages);

#[cfg(test)]
mod tests {
    use plugin_sdk::testkit::{TestExchange, TestHost, TestRequest, TestResponse};
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_replaced_and_a_client_may_send_so_many_messages() {
        let mut chat = TestHost::new().plugin::<Chat>(json!({ "words": ["darn"], "max-messages": 3 })).unwrap();
        let mut exchange = TestExchange::new(TestRequest::get("/chat"));
        chat.response(&mut exchange, TestResponse::websocket());
        let sent = chat.message(&mut exchange, Sender::Client, "darn it");
        assert_eq!(sent.to_upstream, [Message::text("**** it")]);
        let sent = chat.message(&mut exchange, Sender::Upstream, "not at all");
        assert_eq!(sent.to_client, [Message::text("not at all")]);
        let sent = chat.message(&mut exchange, Sender::Client, "ping");
        assert_eq!((sent.to_client.as_slice(), sent.to_upstream.len()), ([Message::text("pong")].as_slice(), 0));
        assert_eq!(chat.message(&mut exchange, Sender::Client, vec![0]).close.unwrap().code, 1003);
        assert_eq!(chat.message(&mut exchange, Sender::Client, "more").close.unwrap().code, 1008);
    }

    #[test]
    fn an_ordinary_response_passes() {
        let mut chat = TestHost::new().plugin::<Chat>(json!({ "words": [] })).unwrap();
        let mut exchange = TestExchange::new(TestRequest::get("/chat"));
        chat.response(&mut exchange, TestResponse::new(403));
        assert!(!exchange.streams_messages());
        assert!(TestHost::new().plugin::<Chat>(json!({ "words": [""] })).is_err());
    }
}
