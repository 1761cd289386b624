//! From a message to JSON.

use base64ct::{Base64, Encoding};
use serde_json::Value;
use thrift::{
    Error, ProtocolError, ProtocolErrorKind,
    protocol::{TInputProtocol, TType},
};

use crate::{
    config::{Enums, Wide},
    schema::{Need, Schema, Struct, Type},
};

type Read = Result<(), Error>;

/// An answer may say much in few bytes, such as structs that have nothing but defaults.
const JSON_BYTES: usize = 16 * 1024 * 1024;

/// Writes what it reads to `json`. It goes by the IDL, and passes over what that does not know.
pub(crate) struct Reader<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) enums: Enums,
    pub(crate) i64: Wide,
    pub(crate) input: &'a mut dyn TInputProtocol,
    pub(crate) json: Vec<u8>,
}

impl Reader<'_> {
    pub(crate) fn structure(&mut self, typed: &Struct) -> Read {
        if self.json.len() > JSON_BYTES {
            return Err(malformed(format!("it is over {JSON_BYTES} bytes as JSON")));
        }
        self.input.read_struct_begin()?;
        let mut seen = vec![false; typed.fields.len()];
        self.json.push(b'{');
        loop {
            let begin = self.input.read_field_begin()?;
            if begin.field_type == TType::Stop {
                break;
            }
            let known = begin.id.and_then(|id| typed.by_id(id));
            match known.filter(|(at, field)| field.ty.wire() == begin.field_type && !seen[*at]) {
                Some((at, field)) => {
                    seen[at] = true;
                    self.member(&field.name);
                    self.value(&field.ty)?;
                }
                None => self.input.skip(begin.field_type)?,
            }
            self.input.read_field_end()?;
        }
        self.input.read_struct_end()?;
        for (field, _) in typed.fields.iter().zip(seen).filter(|(_, seen)| !seen) {
            match &field.default {
                // What whoever reads it with the IDL's own code would see.
                Some(default) if !typed.is_union => {
                    self.member(&field.name);
                    self.constant(&field.ty, default);
                }
                _ if field.need == Need::Required => {
                    return Err(malformed(format!("`{}` has no `{}`, which is required", typed.name, field.name)));
                }
                _ => {}
            }
        }
        self.json.push(b'}');
        Ok(())
    }

    pub(crate) fn value(&mut self, ty: &Type) -> Read {
        match ty {
            Type::Bool => {
                let value = self.input.read_bool()?;
                self.json.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Type::I8 => {
                let value = self.input.read_i8()?;
                self.number(value);
            }
            Type::I16 => {
                let value = self.input.read_i16()?;
                self.number(value);
            }
            Type::I32 => {
                let value = self.input.read_i32()?;
                self.number(value);
            }
            Type::I64 => {
                let value = self.input.read_i64()?;
                self.wide(value);
            }
            Type::Double => {
                let value = self.input.read_double()?;
                match value {
                    value if value.is_nan() => self.json.extend_from_slice(b"\"NaN\""),
                    f64::INFINITY => self.json.extend_from_slice(b"\"Infinity\""),
                    f64::NEG_INFINITY => self.json.extend_from_slice(b"\"-Infinity\""),
                    value => self.put(&value),
                }
            }
            Type::String => {
                let bytes = self.input.read_bytes()?;
                let text = std::str::from_utf8(&bytes).map_err(|_| malformed("a string is not UTF-8".to_owned()))?;
                self.put(text);
            }
            Type::Binary => {
                let bytes = self.input.read_bytes()?;
                self.put(Base64::encode_string(&bytes).as_str());
            }
            Type::Uuid => {
                let value = self.input.read_uuid()?;
                self.put(value.hyphenated().to_string().as_str());
            }
            Type::Enum(number) => {
                let value = self.input.read_i32()?;
                self.enumerated(*number, value);
            }
            Type::Struct(number) => {
                let schema = self.schema;
                self.structure(&schema.structs[*number])?;
            }
            Type::List(element) => {
                let begin = self.input.read_list_begin()?;
                self.elements(element, begin.element_type, begin.size)?;
                self.input.read_list_end()?;
            }
            Type::Set(element) => {
                let begin = self.input.read_set_begin()?;
                self.elements(element, begin.element_type, begin.size)?;
                self.input.read_set_end()?;
            }
            Type::Map(key, element) => self.map(key, element)?,
        }
        Ok(())
    }

    fn elements(&mut self, ty: &Type, found: TType, size: i32) -> Read {
        if size > 0 && found != ty.wire() {
            return Err(malformed(format!("elements are of type {found} where the IDL says {}", ty.wire())));
        }
        self.json.push(b'[');
        for at in 0..size {
            if at > 0 {
                self.json.push(b',');
            }
            self.value(ty)?;
        }
        self.json.push(b']');
        Ok(())
    }

    fn map(&mut self, key: &Type, element: &Type) -> Read {
        let begin = self.input.read_map_begin()?;
        let types = (begin.key_type, begin.value_type);
        if begin.size > 0 && types != (Some(key.wire()), Some(element.wire())) {
            return Err(malformed("keys or values of a map are not of the IDL's type".to_owned()));
        }
        let scalar = key.is_scalar();
        self.json.push(if scalar { b'{' } else { b'[' });
        for at in 0..begin.size {
            if at > 0 {
                self.json.push(b',');
            }
            if scalar {
                self.key(key)?;
                self.json.push(b':');
                self.value(element)?;
            } else {
                self.json.push(b'[');
                self.value(key)?;
                self.json.push(b',');
                self.value(element)?;
                self.json.push(b']');
            }
        }
        self.json.push(if scalar { b'}' } else { b']' });
        self.input.read_map_end()
    }

    /// The name of a member: a scalar in quotation marks.
    fn key(&mut self, ty: &Type) -> Read {
        let start = self.json.len();
        self.value(ty)?;
        if self.json.get(start) != Some(&b'"') {
            self.json.insert(start, b'"');
            self.json.push(b'"');
        }
        Ok(())
    }

    fn member(&mut self, name: &str) {
        if self.json.last() != Some(&b'{') {
            self.json.push(b',');
        }
        self.put(name);
        self.json.push(b':');
    }

    fn enumerated(&mut self, number: usize, value: i32) {
        let schema = self.schema;
        match schema.enums[number].name(value).filter(|_| self.enums == Enums::Names) {
            Some(name) => self.put(name),
            None => self.number(value),
        }
    }

    fn wide(&mut self, value: i64) {
        if self.i64 == Wide::String {
            self.put(value.to_string().as_str());
        } else {
            self.number(value);
        }
    }

    fn number(&mut self, value: impl Into<i64>) {
        self.json.extend_from_slice(value.into().to_string().as_bytes());
    }

    fn put<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        // Memory takes what it gets, and scalars have no names that could be wrong.
        let _ = serde_json::to_writer(&mut self.json, value);
    }

    /// A value of the IDL.
    fn constant(&mut self, ty: &Type, value: &Value) {
        match (ty, value) {
            (Type::Enum(number), Value::Number(value)) => {
                let value = value.as_i64().and_then(|value| i32::try_from(value).ok()).unwrap_or_default();
                self.enumerated(*number, value);
            }
            (Type::I64, Value::Number(value)) => self.wide(value.as_i64().unwrap_or_default()),
            (Type::List(element) | Type::Set(element), Value::Array(list)) => {
                self.json.push(b'[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        self.json.push(b',');
                    }
                    self.constant(element, value);
                }
                self.json.push(b']');
            }
            (Type::Map(_, element), Value::Object(members)) => {
                self.json.push(b'{');
                for (name, value) in members {
                    self.member(name);
                    self.constant(element, value);
                }
                self.json.push(b'}');
            }
            (Type::Struct(number), Value::Object(members)) => {
                let schema = self.schema;
                self.json.push(b'{');
                for (name, value) in members {
                    self.member(name);
                    if let Some(field) = schema.structs[*number].field(name) {
                        self.constant(&field.ty, value);
                    }
                }
                self.json.push(b'}');
            }
            (_, value) => self.put(value),
        }
    }
}

pub(crate) fn malformed(message: String) -> Error {
    Error::Protocol(ProtocolError { kind: ProtocolErrorKind::InvalidData, message })
}
