use plugin_sdk::testkit::{TestExchange, TestHost, TestPlugin, TestRequest, seeds};
use serde_json::{Map, Value, json};
use thrift::protocol::{
    TBinaryOutputProtocol, TCompactOutputProtocol, TMessageIdentifier, TMessageType, TOutputProtocol,
};

use super::*;
use crate::{
    config::{Enums, Protocol, Wide},
    schema::{Method, Need, Type},
    wire::CallOutcome,
    write::Writer,
};

const SHARED: &str = include_str!("../../../tests/thrift/shared.thrift");
const EVERYTHING: &str = include_str!("../../../tests/thrift/everything.thrift");

fn host() -> TestHost {
    let host = TestHost::new();
    host.set_file("shared.thrift", SHARED);
    host.set_file("everything", EVERYTHING);
    host
}

fn config(more: &Value) -> Value {
    let mut config = json!({ "idl": "everything", "upstream": "it" });
    let members = config.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    config
}

fn plugin(host: &TestHost, more: &Value) -> TestPlugin<ThriftJson> {
    host.plugin::<ThriftJson>(config(more)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(host: &TestHost, config: Value) -> String {
    match host.plugin::<ThriftJson>(config) {
        Ok(_) => panic!("it is accepted"),
        Err(problems) => problems.iter().map(|problem| format!("{}: {}\n", problem.pointer, problem.message)).collect(),
    }
}

fn post(target: &str, body: &Value) -> TestRequest {
    TestRequest::new("POST", target).header("content-type", "application/json").body(body.to_string())
}

fn wire(transport: Transport, protocol: Protocol) -> Wire {
    Wire { transport, protocol, unknown: Treatment::Reject, enums: Enums::Names, i64: Wide::Number }
}

/// What a service answers that returns this value.
fn returned(wire: &Wire, schema: &Schema, method: &Method, value: &Value) -> Result<Vec<u8>, Refusal> {
    answered(wire, schema, method, 0, method.result.clone().expect("a result"), value)
}

/// What a service answers with one field in its result.
fn answered(
    wire: &Wire,
    schema: &Schema,
    method: &Method,
    id: i16,
    ty: Type,
    value: &Value,
) -> Result<Vec<u8>, Refusal> {
    let mut bytes = if wire.transport == Transport::Framed { vec![0; 4] } else { Vec::new() };
    let field = schema::Field { id, name: "success".to_owned(), need: Need::Unsaid, ty, default: None };
    let result = schema::Struct { name: "result".to_owned(), fields: vec![field], ..schema::Struct::default() };
    let members = Map::from_iter([("success".to_owned(), value.clone())]);
    let write = |out: &mut dyn TOutputProtocol| {
        let begin = TMessageIdentifier::new(method.name.as_str(), TMessageType::Reply, 1);
        out.write_message_begin(&begin).expect("memory");
        Writer { schema, unknown: Treatment::Reject, out: &mut *out }.structure(&result, &members)
    };
    match wire.protocol {
        Protocol::Binary => write(&mut TBinaryOutputProtocol::new(&mut bytes, true))?,
        Protocol::Compact => write(&mut TCompactOutputProtocol::new(&mut bytes))?,
    }
    if wire.transport == Transport::Framed {
        let length = u32::try_from(bytes.len() - 4).expect("small");
        bytes[..4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(bytes)
}

fn schema_of(text: &str) -> Schema {
    let files = idl::Files::load(&["it".to_owned()], |_| Ok(text.to_owned())).map_err(|(_, why)| why).unwrap();
    idl::resolve(&files, 1, &[], false).unwrap()
}

/// Four transports and protocols: what has frames, and what has none.
fn wires() -> [Wire; 4] {
    [
        wire(Transport::Framed, Protocol::Binary),
        wire(Transport::Framed, Protocol::Compact),
        wire(Transport::Buffered, Protocol::Binary),
        wire(Transport::Buffered, Protocol::Compact),
    ]
}

fn answer(exchange: &TestExchange) -> (u16, Value) {
    let reply = exchange.reply().expect("it answers");
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

#[test]
fn an_answer_is_awaited_in_parts_and_the_connection_serves_on() {
    for (transport, protocol) in
        [("framed", "binary"), ("framed", "compact"), ("buffered", "binary"), ("buffered", "compact")]
    {
        let host = host();
        let mut plugin = plugin(&host, &json!({ "transport": transport, "protocol": protocol }));
        let ThriftJson { schema, wire, .. } = plugin.inner();
        let method = &schema.methods[schema.find("Everything/many").unwrap()];
        let things = json!([{ "id": 1, "name": "a" }, { "id": 2, "shape": { "name": "b" } }]);
        let bytes = returned(wire, schema, method, &things).unwrap();
        host.answer_messages(move |_| Ok(bytes.clone()));
        let exchange = plugin.request_with_body(post("/Everything/many", &json!({ "count": 2 })));
        let (status, value) = answer(&exchange);
        assert_eq!((status, &value[1]["shape"]), (200, &json!({ "name": "b" })), "{value}");
        assert_eq!(value[0]["colour"], json!("GREEN"), "what is absent has its default");
        assert_eq!((host.messages().len(), host.released()), (1, 1));
        assert_eq!(exchange.attribute("thrift.call"), Some("Everything/many"));
    }
}

#[test]
fn a_connection_on_which_more_came_than_an_answer_is_not_used_again() {
    let host = host();
    let mut plugin = plugin(&host, &json!({}));
    let ThriftJson { schema, wire, .. } = plugin.inner();
    let method = &schema.methods[schema.find("Everything/ping").unwrap()];
    let bytes = returned(wire, schema, method, &json!("pong")).unwrap();
    let Heard::Whole(_, true) = wire.hear(schema, method, &bytes) else { panic!("it is whole") };
    let more = [&bytes[..], b"x"].concat();
    let Heard::Whole(_, false) = wire.hear(schema, method, &more) else { panic!("there is more") };
}

#[test]
fn only_what_may_be_done_twice_is_sent_twice() {
    let host = host();
    let bindings = json!({ "bindings": [{ "call": "Everything/ping", "method": "GET", "path": "/ping" }] });
    let mut plugin = plugin(&host, &bindings);
    host.answer_messages(|_| Err(TcpError::Closed("by the test".to_owned())));
    assert_eq!(answer(&plugin.request_with_body(TestRequest::get("/ping"))).0, 502);
    assert_eq!(answer(&plugin.request_with_body(post("/Everything/ping", &json!({})))).0, 502);
    let repeatable: Vec<_> = host.messages().iter().map(|message| message.repeatable).collect();
    assert_eq!(repeatable, [true, false]);
}

#[test]
fn an_exception_has_the_status_of_the_configuration_or_of_the_idl_or_500() {
    let host = host();
    let status = |exceptions: Value, name: &str| {
        let mut plugin = plugin(&host, &json!({ "exceptions": exceptions }));
        let ThriftJson { schema, wire, .. } = plugin.inner();
        let method = &schema.methods[schema.find("Everything/echo").unwrap()];
        let (id, number) = *method.throws.iter().find(|(_, number)| schema.structs[*number].name == name).unwrap();
        let bytes = answered(wire, schema, method, id, Type::Struct(number), &json!({ "message": "so" })).unwrap();
        host.answer_messages(move |_| Ok(bytes.clone()));
        let (status, problem) =
            answer(&plugin.request_with_body(post("/Everything/echo", &json!({ "thing": { "id": 1 } }))));
        assert_eq!((&problem["detail"], &problem["exception"]), (&json!("so"), &json!(name)));
        status
    };
    assert_eq!(status(json!({}), "NotFound"), 404);
    assert_eq!(status(json!({}), "Denied"), 500);
    assert_eq!(status(json!({ "*": 422 }), "Denied"), 422);
    assert_eq!(status(json!({ "*": 422, "NotFound": 410 }), "NotFound"), 410);
}

#[test]
fn mistakes_of_the_configuration_are_named() {
    let host = host();
    let said = |config: Value| problems(&host, config);
    assert!(said(json!({ "idl": "none", "upstream": "it" })).contains("no file `none`"));
    assert!(said(json!({ "idl": "everything" })).contains("/upstream: name the upstream"));
    let both = said(json!({ "idl": "everything", "upstream": "it", "transport": "http" }));
    assert!(both.contains("the route's own upstream"), "{both}");
    let missing = said(config(&json!({ "services": ["Nothing"] })));
    assert!(missing.contains("there is no service `Nothing`; there is Everything"), "{missing}");
    let thrown = said(config(&json!({ "exceptions": { "Gone": 410 } })));
    assert!(thrown.contains("/exceptions/Gone: no method throws `Gone`; thrown is Denied, NotFound"), "{thrown}");
    let bound = |binding: Value| said(config(&json!({ "bindings": [binding] })));
    assert!(bound(json!({ "call": "Everything/sub", "path": "/" })).contains("there is no `Everything/sub`"));
    let variable = bound(json!({ "call": "Everything/add", "path": "/{c}" }));
    assert!(variable.contains("/bindings/0/path: there is no `c` in `arguments`; there is a, b"), "{variable}");
    assert!(bound(json!({ "call": "Everything/echo", "path": "/{thing}" })).contains("not a single value"));
    assert!(bound(json!({ "call": "Everything/add", "path": "/x{a}" })).contains("a whole segment"));
    assert!(bound(json!({ "call": "Everything/add", "path": "/", "method": "get" })).contains("such as `GET`"));
    assert!(bound(json!({ "call": "Everything/add", "path": "/", "body": "c" })).contains("there is no `c`"));
    host.set_file("broken", "struct A {\n  1: i32 x\n  2 i32 y\n}\n");
    let broken = said(json!({ "idl": "broken", "upstream": "it" }));
    assert!(broken.contains("file `broken` is not Thrift's IDL at line 3:"), "{broken}");
    for (text, why) in [
        ("typedef A B\ntypedef B A\nservice S { void m(1: A a) }", "stands for itself"),
        ("struct A { 1: i32 x, 1: i32 y }", "two fields of number 1"),
        ("struct A { 1: B b }", "file `bad` has no type `B`"),
        ("struct A { 1: other.B b }", "has no type `other.B`"),
        ("struct A { 1: i8 x = 300 }", "the default of field 1 of `A`"),
        ("const i32 X = Y\nconst i32 Y = X\nstruct A { 1: i32 x = X }", "stands for itself"),
        ("service S extends S { void m() }", "extends itself"),
        ("service S { oneway i32 m() }", "answers nothing"),
        ("struct A {}\nenum A { B }", "two things called `A`"),
        ("exception A { } (http.status = \"200\")", "none from 400 to 599"),
        ("struct A {}", "no service with a method"),
    ] {
        host.set_file("bad", text);
        let said = said(json!({ "idl": "bad", "upstream": "it" }));
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn more_texts_of_the_idl_are_understood() {
    let schema = schema_of(
        r#"
        namespace * x
        # a comment
        enum E { A, B = 5, C }
        const map<string, i32> SIZES = { "small": 1, "large": E.C }
        struct Inner { 1: E e = E.B; 2: double d = 2 } (a = "b")
        struct Outer { 1: Inner inner = { "e": 6, "d": 1.5 }; 2: map<string, i32> sizes = SIZES; 3: list<binary> b = ["x"] }
        service S { Outer get(1: map<Inner, uuid> keys, 2: bool yes = 1) }
        "#,
    );
    let defaults = |name: &str| {
        let typed = schema.structs.iter().find(|typed| typed.name == name).unwrap();
        typed.fields.iter().map(|field| field.default.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(defaults("Inner"), [json!(5), json!(2.0)]);
    assert_eq!(defaults("Outer"), [json!({ "d": 1.5, "e": 6 }), json!({ "small": 1, "large": 6 }), json!(["eA=="])]);
    let arguments = &schema.methods[0].arguments;
    assert_eq!(arguments.fields[1].default, Some(json!(true)));
    let wire = wire(Transport::Framed, Protocol::Compact);
    let keys = json!([[{ "e": "A" }, "00112233-4455-6677-8899-aabbccddeeff"]]);
    let members = Map::from_iter([("keys".to_owned(), keys)]);
    assert!(wire.call(&schema, &schema.methods[0], &members).is_ok());
}

/// What is said in two ways in JSON, and what comes back in one.
#[test]
fn json_has_one_form_in_answers_and_some_more_in_requests() {
    let schema = schema_of(
        "enum E { A = 1, B = 2 }
        struct T { 1: i64 i, 2: double d, 3: binary b, 4: E e, 5: map<bool, i8> m, 6: map<E, i64> n, 7: uuid u }
        service S { T it(1: T t) }",
    );
    let method = &schema.methods[0];
    for wire in wires() {
        let round = |value: Value| -> Value {
            let bytes = returned(&wire, &schema, method, &value).unwrap();
            match wire.hear(&schema, method, &bytes) {
                Heard::Whole(CallOutcome::Done(Some(json)), true) => serde_json::from_slice(&json).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let value =
            json!({ "i": "9223372036854775807", "d": "NaN", "b": "-_8", "e": 2, "m": { "true": 1 }, "n": { "A": 1 } });
        let found = round(value);
        let expected = json!({ "i": i64::MAX, "d": "NaN", "b": "+/8=", "e": "B", "m": { "true": 1 }, "n": { "A": 1 } });
        assert_eq!(found, expected);
        assert_eq!(
            round(json!({ "i": 1e3, "d": 1, "e": 9, "m": [[false, 2]] })),
            json!({ "i": 1000, "d": 1.0, "e": 9, "m": { "false": 2 } })
        );
        let uuid = json!({ "u": "00112233-4455-6677-8899-aabbccddeeff" });
        assert_eq!(round(uuid.clone()), uuid);
    }
}

/// A type and its values, drawn by lot from a seed.
struct Lot(u64);

impl Lot {
    /// Below `most`, which is not 0 (xorshift64*).
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % most
    }

    fn ty(&mut self, structs: usize, depth: usize) -> String {
        let simple = ["bool", "i8", "i16", "i32", "i64", "double", "string", "binary", "uuid", "E"];
        let kinds = if depth == 0 { simple.len() } else { simple.len() + 4 };
        match self.below(kinds) {
            n if n < simple.len() => simple[n].to_owned(),
            10 => format!("list<{}>", self.ty(structs, depth - 1)),
            11 => format!("set<{}>", self.ty(structs, depth - 1)),
            12 => format!("map<{}, {}>", self.ty(structs, depth - 1), self.ty(structs, depth - 1)),
            _ if structs > 0 => format!("T{}", self.below(structs)),
            _ => "string".to_owned(),
        }
    }

    fn idl(&mut self) -> String {
        let mut text = "enum E { A = 0, B = 1, C = 77 }\n".to_owned();
        for number in 0..4 {
            let is_union = self.below(4) == 0;
            text.push_str(&format!("{} T{number} {{\n", if is_union { "union" } else { "struct" }));
            let mut id = 0;
            for field in 0..1 + self.below(5) {
                id += 1 + if self.below(5) == 0 { self.below(300) } else { 0 };
                let need = if is_union { "" } else { ["", "optional ", "required "][self.below(3)] };
                text.push_str(&format!("  {id}: {need}{} f{field}\n", self.ty(number, 2)));
            }
            text.push_str("}\n");
        }
        text.push_str("service S { T3 it(1: T3 t) }\n");
        text
    }

    /// As answers have it.
    fn value(&mut self, schema: &Schema, ty: &Type) -> Value {
        const UUIDS: [&str; 2] = ["00000000-0000-0000-0000-000000000000", "ffffffff-0001-4002-8003-ffffffffffff"];
        match ty {
            Type::Bool => json!(self.below(2) == 0),
            Type::I8 => json!([0, 1, i8::MIN, i8::MAX][self.below(4)]),
            Type::I16 => json!([0, -1, i16::MIN, i16::MAX][self.below(4)]),
            Type::I32 => json!([0, -1, i32::MIN, i32::MAX][self.below(4)]),
            Type::I64 => json!([0, -1, i64::MIN, i64::MAX][self.below(4)]),
            Type::Double => [json!(0.0), json!(-0.1), json!(f64::MAX), json!("Infinity")][self.below(4)].clone(),
            Type::String => json!(["", "a", "\u{1F600}\"\\\n", "x".repeat(200).as_str()][self.below(4)]),
            Type::Binary => json!(["", "AA==", "AP8K"][self.below(3)]),
            Type::Uuid => json!(UUIDS[self.below(2)]),
            Type::Enum(_) => [json!("A"), json!("C"), json!(5)][self.below(3)].clone(),
            Type::List(element) | Type::Set(element) => {
                (0..[0, 1, 3, 20][self.below(4)]).map(|_| self.value(schema, element)).collect()
            }
            Type::Map(key, element) if key.is_scalar() => {
                let mut members = Map::new();
                for _ in 0..self.below(4) {
                    let name = match self.value(schema, key) {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    members.insert(name, self.value(schema, element));
                }
                Value::Object(members)
            }
            Type::Map(key, element) => {
                (0..self.below(3)).map(|_| json!([self.value(schema, key), self.value(schema, element)])).collect()
            }
            Type::Struct(number) => {
                let typed = &schema.structs[*number];
                let mut members = Map::new();
                let only = typed.is_union.then(|| self.below(typed.fields.len()));
                for (at, field) in typed.fields.iter().enumerate() {
                    let is_there = only.map_or(field.need == Need::Required || self.below(3) > 0, |only| only == at);
                    if is_there {
                        members.insert(field.name.clone(), self.value(schema, &field.ty));
                    }
                }
                Value::Object(members)
            }
        }
    }
}

#[test]
fn what_is_written_is_read_for_types_and_values_by_lot() {
    for seed in seeds(150) {
        let mut lot = Lot(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let text = lot.idl();
        let schema = schema_of(&text);
        let method = &schema.methods[0];
        for wire in wires() {
            let value = lot.value(&schema, method.result.as_ref().unwrap());
            let bytes = returned(&wire, &schema, method, &value).unwrap_or_else(|why| panic!("{text}{value}: {why:?}"));
            match wire.hear(&schema, method, &bytes) {
                Heard::Whole(CallOutcome::Done(Some(json)), true) => {
                    let found: Value = serde_json::from_slice(&json).unwrap();
                    assert_eq!(found, value, "{text}");
                }
                other => panic!("{text}{value}: {other:?}"),
            }
            for end in 0..bytes.len() {
                let heard = wire.hear(&schema, method, &bytes[..end]);
                assert!(
                    matches!(heard, Heard::Part(wants) if wants > end),
                    "seed {seed}, {end} of {}: {heard:?}",
                    bytes.len()
                );
            }
        }
    }
}

#[test]
fn octets_that_were_changed_by_lot_are_read_or_refused() {
    let mut refused = 0;
    for seed in seeds(60) {
        let mut lot = Lot(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let schema = schema_of(&lot.idl());
        let method = &schema.methods[0];
        for wire in wires() {
            let value = lot.value(&schema, method.result.as_ref().unwrap());
            let bytes = returned(&wire, &schema, method, &value).unwrap();
            for _ in 0..200 {
                let mut changed = bytes.clone();
                for _ in 0..1 + lot.below(3) {
                    let at = lot.below(changed.len());
                    match lot.below(4) {
                        0 => changed[at] ^= 1 << lot.below(8),
                        1 => changed[at] = [0, 0xff, 0x7f, 0x80][lot.below(4)],
                        2 => drop(changed.remove(at)),
                        _ => changed.insert(at, lot.below(256) as u8),
                    }
                    if changed.is_empty() {
                        break;
                    }
                }
                match wire.hear(&schema, method, &changed) {
                    Heard::Whole(CallOutcome::Done(Some(json)), _) => {
                        assert!(serde_json::from_slice::<Value>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
                    }
                    Heard::Whole(..) => {}
                    Heard::Part(_) | Heard::Malformed(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn no_body_of_a_client_makes_it_panic() {
    let host = host();
    host.answer_messages(|_| Err(TcpError::Timeout));
    let mut plugin = plugin(&host, &json!({}));
    let whole = json!({ "thing": {
        "id": 1, "colour": "RED", "numbers": [1, 2], "places": { "a": { "x": 1.5 } }, "blob": "AAEC", "shape": { "name": "b" },
        "names": { "7": "x" }, "next": { "id": "9" },
    } });
    let whole = whole.to_string().into_bytes();
    let (mut refused, mut called) = (0, 0);
    for seed in seeds(3000) {
        let mut lot = Lot(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut body = whole.clone();
        for _ in 0..lot.below(3) {
            let at = lot.below(body.len());
            match lot.below(3) {
                0 => body[at] = b"{}[]\",:0e-7\\u"[lot.below(13)],
                1 => drop(body.remove(at)),
                _ => body.insert(at, lot.below(256) as u8),
            }
        }
        let exchange = plugin.request_with_body(TestRequest::post("/Everything/echo").body(body));
        match exchange.reply().map(|reply| reply.status) {
            Some(400) => refused += 1,
            Some(504) => called += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0 && called > 0, "{refused} {called}");
}

#[test]
fn what_is_nested_without_end_is_refused() {
    let schema = schema_of("struct T { 1: optional T next } service S { T it(1: T t) }");
    let method = &schema.methods[0];
    for wire in wires() {
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "next": inner }));
        let members = Map::from_iter([("t".to_owned(), deep)]);
        assert!(wire.call(&schema, method, &members).is_err());
    }
    let mut bytes = vec![0x80, 1, 0, 2, 0, 0, 0, 2, b'i', b't', 0, 0, 0, 1, 12, 0, 0];
    bytes.extend([12, 0, 1].repeat(100_000));
    let heard = wire(Transport::Http, Protocol::Binary).hear(&schema, method, &bytes);
    assert!(matches!(&heard, Heard::Malformed(why) if why.contains("depth")), "{heard:?}");
}

#[test]
fn the_example_of_the_schema_is_valid_and_understood() {
    let schema = plugin_sdk::testkit::config_schema::<ThriftJson>();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example), "{example}");
    }
}
