use std::cell::RefCell;

use super::*;

/// Adds its name to text messages, and does what they say.
struct Named(char, Rc<RefCell<usize>>);

impl MessageFilter for Named {
    fn on_message<'a>(&'a self, _: Side, message: &'a Message) -> LocalFuture<'a, Result<MessageResult, Failure>> {
        *self.1.borrow_mut() += 1;
        let Self(name, _) = self;
        let said = String::from_utf8(message.bytes().to_vec()).unwrap();
        let text = |text: String| Message::Text(text.into());
        let named = text(format!("{said}{name}"));
        let result = match said.strip_prefix(*name) {
            None => MessageResult { output: Some(vec![named]), ..MessageResult::default() },
            Some("drop") => MessageResult { output: Some(Vec::new()), ..MessageResult::default() },
            Some("two") => {
                MessageResult { output: Some(vec![text("1".to_owned()), text("2".to_owned())]), ..Default::default() }
            }
            Some("reply") => MessageResult { output: Some(Vec::new()), replies: vec![named], close: None },
            Some("ping") => MessageResult { output: None, replies: vec![text(said.clone())], close: None },
            Some("close") => MessageResult {
                output: None,
                replies: vec![text("bye".to_owned())],
                close: Some(Close { code: 1000, reason: String::new() }),
            },
            Some("large") => MessageResult {
                output: Some(vec![text("x".repeat(MAX_PENDING_BYTES)), text("x".to_owned())]),
                ..MessageResult::default()
            },
            Some(_) => return Box::pin(async { Err(Failure::PluginFailed) }),
        };
        Box::pin(async { Ok(result) })
    }
}

fn filters(names: &str) -> (MessageFilters, Rc<RefCell<usize>>) {
    let calls = Rc::new(RefCell::new(0));
    let mut filters = MessageFilters::default();
    // As the response phase adds them.
    for (position, name) in names.chars().enumerate().collect::<Vec<_>>().into_iter().rev() {
        filters.add(position, Rc::new(Named(name, calls.clone())));
    }
    (filters, calls)
}

async fn pass(filters: &MessageFilters, sender: Side, text: &str) -> Vec<String> {
    let mut passage = filters.pass(sender, Message::Text(text.to_owned().into()));
    let mut all = Vec::new();
    while let Some(delivery) = passage.next().await {
        all.push(match delivery {
            Ok(Forwarded::Message { to, message }) => format!("{to:?} {}", String::from_utf8_lossy(message.bytes())),
            Ok(Forwarded::Close(close)) => format!("close {}", close.code),
            Err(failure) => {
                all.push(failure.reason().to_owned());
                break;
            }
        });
    }
    all
}

#[tokio::test]
async fn messages_of_the_client_pass_in_order_and_those_of_the_upstream_in_reverse() {
    let (filters, _) = filters("abc");
    assert_eq!(pass(&filters, Side::Client, "-").await, ["Upstream -abc"]);
    assert_eq!(pass(&filters, Side::Upstream, "-").await, ["Client -cba"]);
}

#[tokio::test]
async fn a_reply_passes_the_stages_between_it_and_the_sender() {
    let (filters, _) = filters("abc");
    assert_eq!(pass(&filters, Side::Client, "areply").await, ["Client areplya"]);
    assert_eq!(pass(&filters, Side::Upstream, "creply").await, ["Upstream creplyc"]);
    assert_eq!(pass(&filters, Side::Upstream, "x").await.len(), 1);
    // `b` gets `breplya`, which it does not know, from `a`: only the first stage is asked by its own name.
    let (filters, _) = self::filters("bc");
    assert_eq!(pass(&filters, Side::Upstream, "creply").await, ["Upstream creplyc"]);
}

#[tokio::test]
async fn all_that_one_message_leads_to_goes_on_in_order_and_nothing_follows_a_close() {
    let (filters, _) = filters("ab");
    assert_eq!(pass(&filters, Side::Client, "adrop").await, [""; 0]);
    assert_eq!(pass(&filters, Side::Client, "atwo").await, ["Upstream 1b", "Upstream 2b"]);
    assert_eq!(pass(&filters, Side::Client, "aclose").await, ["Upstream acloseb", "Client bye", "close 1000"]);
    assert_eq!(pass(&filters, Side::Client, "afail").await, ["plugin-failed"]);
}

#[tokio::test]
async fn stages_that_answer_each_other_and_stages_that_make_too_much_are_stopped() {
    struct Echo(Rc<RefCell<usize>>);
    impl MessageFilter for Echo {
        fn on_message<'a>(&'a self, _: Side, message: &'a Message) -> LocalFuture<'a, Result<MessageResult, Failure>> {
            *self.0.borrow_mut() += 1;
            let result = MessageResult { output: Some(Vec::new()), replies: vec![message.clone()], close: None };
            Box::pin(async { Ok(result) })
        }
    }
    let calls = Rc::new(RefCell::new(0));
    let mut both = MessageFilters::default();
    both.add(0, Rc::new(Named('a', calls.clone())));
    both.add(1, Rc::new(Echo(calls.clone())));
    assert_eq!(pass(&both, Side::Client, "x").await, ["Client xaa"], "one reply is none too many");
    let mut echoes = MessageFilters::default();
    echoes.add(0, Rc::new(Echo(calls.clone())));
    echoes.add(1, Rc::new(Echo(calls.clone())));
    assert_eq!(pass(&echoes, Side::Client, "x").await, ["Client x"]);
    // From the upstream, `b` answers; what it answers goes to the upstream, past no other stage.
    assert_eq!(pass(&echoes, Side::Upstream, "x").await, ["Upstream x"]);
    let (large, _) = filters("ab");
    assert_eq!(pass(&large, Side::Client, "alarge").await, ["plugin-failed"]);
}
