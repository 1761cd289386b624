//! Generated messages of generated types, and bytes that are none.

use plugin_sdk::testkit::seeds;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::*;

/// A generator that is the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// A message type with fields of every kind, each alone, repeated and in a map, in a service that echoes it.
fn generated(random: &mut Random) -> Vec<u8> {
    use prost_reflect::prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
        FileDescriptorSet, MessageOptions, MethodDescriptorProto, ServiceDescriptorProto,
        field_descriptor_proto::{Label, Type},
    };
    let kinds = [
        Type::Double,
        Type::Float,
        Type::Int64,
        Type::Uint64,
        Type::Int32,
        Type::Fixed64,
        Type::Fixed32,
        Type::Bool,
        Type::String,
        Type::Message,
        Type::Bytes,
        Type::Uint32,
        Type::Enum,
        Type::Sfixed32,
        Type::Sfixed64,
        Type::Sint32,
        Type::Sint64,
    ];
    let keys = [Type::String, Type::Int32, Type::Uint64, Type::Bool, Type::Sfixed64];
    let field = |name: String, number: i32, label: Label, kind: Type| FieldDescriptorProto {
        name: Some(name),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name: match kind {
            Type::Message => Some(".g.M".to_owned()),
            Type::Enum => Some(".g.E".to_owned()),
            _ => None,
        },
        ..FieldDescriptorProto::default()
    };
    let mut message = DescriptorProto { name: Some("M".to_owned()), ..DescriptorProto::default() };
    let mut number = 0;
    for place in 0..1 + random.next(20) {
        number += 1 + i32::try_from(random.next(2000)).unwrap();
        // Numbers that are reserved for protobuf itself.
        number = if (19_000..20_000).contains(&number) { 20_000 } else { number };
        let kind = kinds[random.next(kinds.len())];
        let name = format!("field_{place}");
        let made = match random.next(3) {
            0 => field(name, number, Label::Optional, kind),
            1 => field(name, number, Label::Repeated, kind),
            _ => {
                let entry = format!("Field{place}Entry");
                let key = keys[random.next(keys.len())];
                message.nested_type.push(DescriptorProto {
                    name: Some(entry.clone()),
                    field: vec![
                        field("key".to_owned(), 1, Label::Optional, key),
                        field("value".to_owned(), 2, Label::Optional, kind),
                    ],
                    options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
                    ..DescriptorProto::default()
                });
                let field = field(name, number, Label::Repeated, Type::Message);
                FieldDescriptorProto { type_name: Some(format!(".g.M.{entry}")), ..field }
            }
        };
        message.field.push(made);
    }
    let value = |(number, name): (i32, &str)| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    };
    let call = MethodDescriptorProto {
        name: Some("Call".to_owned()),
        input_type: Some(".g.M".to_owned()),
        output_type: Some(".g.M".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("g.proto".to_owned()),
        package: Some("g".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![message],
        enum_type: vec![EnumDescriptorProto {
            name: Some("E".to_owned()),
            value: [(0, "ZERO"), (1, "ONE"), (-7, "LESS")].map(value).into(),
            ..EnumDescriptorProto::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("S".to_owned()),
            method: vec![call],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn any_message(random: &mut Random, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if random.next(3) == 0 || depth > 3 && matches!(field.kind(), Kind::Message(_)) && !field.is_map() {
            continue;
        }
        let value = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("a map is of entries") };
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let deep = depth > 3 && matches!(value.kind(), Kind::Message(_));
            let pairs = (0..if deep { 0 } else { random.next(4) }).map(|_| {
                let key = any_value(random, &key, depth).into_map_key().expect("a kind that keys have");
                (key, any_value(random, &value, depth))
            });
            prost_reflect::Value::Map(pairs.collect())
        } else if field.is_list() {
            let values = (0..random.next(4)).map(|_| any_value(random, &field, depth));
            prost_reflect::Value::List(values.collect())
        } else {
            any_value(random, &field, depth)
        };
        message.set_field(&field, value);
    }
    message
}

fn any_value(random: &mut Random, field: &FieldDescriptor, depth: usize) -> prost_reflect::Value {
    use prost_reflect::Value as Any;
    let bits = random.next(usize::MAX) as u64;
    // The ends are where mistakes are.
    let bits = match random.next(4) {
        0 => [0, 1, u64::MAX, 1 << 63, i64::MAX as u64, 1 << 53, u64::from(u32::MAX), 1 << 31][random.next(8)],
        _ => bits,
    };
    let text = |random: &mut Random| -> String {
        (0..random.next(8)).map(|_| ['a', '"', '\\', '\n', '\0', 'ä', '\u{2028}', '𝄞'][random.next(8)]).collect()
    };
    match field.kind() {
        Kind::Double => Any::F64(
            [f64::from_bits(bits & !(1 << 62)), -0.5, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY][random.next(5)],
        ),
        // Not its greatest: the shortest way to write that is a little more, which prost-reflect refuses.
        Kind::Float => Any::F32(
            [f32::from_bits(bits as u32 & !(1 << 30)), 0.1, f32::MAX / 2.0, f32::MIN_POSITIVE, f32::NEG_INFINITY]
                [random.next(5)],
        ),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Any::I32(bits as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Any::I64(bits as i64),
        Kind::Uint32 | Kind::Fixed32 => Any::U32(bits as u32),
        Kind::Uint64 | Kind::Fixed64 => Any::U64(bits),
        Kind::Bool => Any::Bool(bits & 1 == 1),
        Kind::String => Any::String(text(random)),
        Kind::Bytes => Any::Bytes(text(random).into_bytes().into()),
        // Also one that has no name.
        Kind::Enum(_) => Any::EnumNumber([0, 1, -7, 5][random.next(4)]),
        Kind::Message(message) => Any::Message(any_message(random, &message, depth + 1)),
    }
}

#[test]
fn generated_messages_of_generated_types_survive_both_ways() {
    for round in seeds(150) {
        let mut random = Random(round.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let set = generated(&mut random);
        let message = DescriptorPool::decode(&set[..]).unwrap().get_message_by_name("g.M").unwrap();
        let host = TestHost::new();
        host.set_file("g", set);
        let mut plugin = host.plugin::<GrpcJson>(json!({ "descriptors": "g" })).unwrap();
        for _ in 0..10 {
            // What has its default value is not sent, and so not there afterwards.
            let sent = any_message(&mut random, &message, 0).encode_to_vec();
            let sent = DynamicMessage::decode(message.clone(), &sent[..]).unwrap();
            let text = serde_json::to_string(&sent).unwrap();
            let mut exchange = plugin.request_with_body(TestRequest::post("/g.S/Call").body(text.clone()));
            assert_eq!(exchange.reply().map(|reply| reply.clone().into_text()), None, "{round}: {text}");
            let got = DynamicMessage::decode(message.clone(), &exchange.body()[5..]).unwrap();
            assert_eq!(got, sent, "{round}: {text}");
            let response = TestResponse::new(200).header("content-type", "application/grpc");
            let response = response.body(framed(&sent.encode_to_vec()).unwrap()).trailer("grpc-status", "0");
            plugin.response_with_body(&mut exchange, response);
            let answer = exchange.response_body();
            let mut reader = serde_json::Deserializer::from_slice(answer);
            let read = DynamicMessage::deserialize(message.clone(), &mut reader).unwrap();
            assert_eq!(read, sent, "{round}: {text}");
        }
    }
}

#[test]
fn no_bytes_from_a_service_or_a_client_make_it_panic() {
    let whole = encoded(
        "library.v1.Book",
        json!({
            "name": "b", "words": "7", "cover": "AAEC", "author": { "name": "Ann" }, "tags": ["x"], "copies": { "a": 1 },
            "published": "2024-02-29T12:00:00Z", "extra": { "a": [1.0, null] }, "sequel": { "name": "c" },
        }),
    );
    let text =
        json!({ "name": "b", "words": "7", "extra": { "a": [1] }, "loan": "1s", "copies": { "a": 1 } }).to_string();
    let mut plugin = library();
    for seed in seeds(2000) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut message = whole.clone();
        let mut json = text.clone().into_bytes();
        for bytes in [&mut message, &mut json] {
            for _ in 0..=random.next(4) {
                let at = random.next(bytes.len());
                match random.next(3) {
                    0 => bytes[at] = random.next(256) as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.next(256) as u8),
                }
            }
        }
        let mut exchange = plugin.request_with_body(TestRequest::post("/v1/shelves/1/books").body(json));
        if exchange.reply().is_none() {
            let response = TestResponse::new(200).header("content-type", "application/grpc");
            let response = response.body(framed(&message).unwrap()).trailer("grpc-status", "0");
            plugin.response_with_body(&mut exchange, response);
        }
        let mut exchange = plugin.request_with_body(TestRequest::get("/v1/books:watch"));
        let response = TestResponse::new(200).header("content-type", "application/grpc").body(message);
        plugin.response_with_body(&mut exchange, response.trailer("grpc-status", "0"));
        let _ = plugin.stream_response(&mut exchange, 1 + random.next(50));
    }
}
