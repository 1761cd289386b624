//! From JSON to a message.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};
use thrift::protocol::{TFieldIdentifier, TListIdentifier, TMapIdentifier, TOutputProtocol, TSetIdentifier, TType};
use uuid::Uuid;

use crate::{
    config::Treatment,
    refusal::Refusal,
    schema::{Field, Need, Schema, Struct, Type},
};

type Written = Result<(), Refusal>;

pub(crate) struct Writer<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) unknown: Treatment,
    pub(crate) out: &'a mut dyn TOutputProtocol,
}

impl Writer<'_> {
    /// A struct; the arguments of a call are one too.
    pub(crate) fn structure(&mut self, typed: &Struct, members: &Map<String, Value>) -> Written {
        if self.unknown == Treatment::Reject
            && let Some(name) = members.keys().find(|name| typed.field(name).is_none())
        {
            return Err(Refusal::new(format!("`{}` has no such member", typed.name)).within(name));
        }
        let given = |field: &Field| members.get(&field.name).filter(|value| !value.is_null());
        if typed.is_union {
            let count = typed.fields.iter().filter(|field| given(field).is_some()).count();
            if count != 1 {
                return Err(Refusal::new(format!(
                    "`{}` is a union: exactly one of its members has to be there, and {count} are",
                    typed.name
                )));
            }
        }
        self.out.write_struct_begin(&thrift::protocol::TStructIdentifier::new("")).map_err(too_deep)?;
        for field in &typed.fields {
            let default = field.default.as_ref().filter(|_| field.need != Need::Optional && !typed.is_union);
            let Some(value) = given(field).or(default) else {
                if field.need == Need::Required {
                    return Err(Refusal::new(format!("`{}` is missing", field.name)).within(&field.name));
                }
                continue;
            };
            let begin = TFieldIdentifier { name: None, field_type: field.ty.wire(), id: Some(field.id) };
            self.out.write_field_begin(&begin).map_err(too_deep)?;
            self.value(&field.ty, value).map_err(|refusal| refusal.within(&field.name))?;
            self.out.write_field_end().map_err(too_deep)?;
        }
        self.out.write_field_stop().map_err(too_deep)?;
        self.out.write_struct_end().map_err(too_deep)
    }

    fn value(&mut self, ty: &Type, value: &Value) -> Written {
        match ty {
            Type::Bool => {
                let value = value.as_bool().ok_or_else(|| expected("`true` or `false`", value))?;
                self.out.write_bool(value)
            }
            Type::I8 => self.out.write_i8(integer(value)?),
            Type::I16 => self.out.write_i16(integer(value)?),
            Type::I32 => self.out.write_i32(integer(value)?),
            Type::I64 => self.out.write_i64(integer(value)?),
            Type::Double => self.out.write_double(double(value)?),
            Type::String => self.out.write_string(text(value)?),
            Type::Binary => {
                let bytes = decoded(text(value)?).ok_or_else(|| expected("base64", value))?;
                self.out.write_bytes(&bytes)
            }
            Type::Uuid => {
                let uuid = Uuid::parse_str(text(value)?).map_err(|_| expected("a UUID", value))?;
                self.out.write_uuid(&uuid)
            }
            Type::Enum(number) => {
                let number = match value {
                    Value::String(name) => self.schema.enums[*number]
                        .number(name)
                        .ok_or_else(|| expected("a value of the enumeration", value))?,
                    other => integer(other)?,
                };
                self.out.write_i32(number)
            }
            Type::Struct(number) => {
                let members = value.as_object().ok_or_else(|| expected("an object", value))?;
                let schema = self.schema;
                return self.structure(&schema.structs[*number], members);
            }
            Type::List(element) => {
                let (list, size) = list(value)?;
                self.out.write_list_begin(&TListIdentifier::new(element.wire(), size)).map_err(too_deep)?;
                self.elements(element, list)?;
                self.out.write_list_end()
            }
            Type::Set(element) => {
                let (list, size) = list(value)?;
                self.out.write_set_begin(&TSetIdentifier::new(element.wire(), size)).map_err(too_deep)?;
                self.elements(element, list)?;
                self.out.write_set_end()
            }
            Type::Map(key, element) => return self.map(key, element, value),
        }
        .map_err(too_deep)
    }

    fn elements(&mut self, ty: &Type, list: &[Value]) -> Written {
        for (at, value) in list.iter().enumerate() {
            self.value(ty, value).map_err(|refusal| refusal.within(at))?;
        }
        Ok(())
    }

    /// An object, or a list of pairs, which is the only way where keys are no scalars.
    fn map(&mut self, key: &Type, element: &Type, value: &Value) -> Written {
        match value {
            Value::Object(members) if key.is_scalar() => {
                self.map_begin(key, element, members.len())?;
                for (name, value) in members {
                    let member = from_text(key, name).and_then(|key_value| {
                        self.value(key, &key_value)?;
                        self.value(element, value)
                    });
                    member.map_err(|refusal| refusal.within(name))?;
                }
            }
            Value::Array(pairs) => {
                self.map_begin(key, element, pairs.len())?;
                for (at, pair) in pairs.iter().enumerate() {
                    let Some([name, value]) = pair.as_array().map(Vec::as_slice) else {
                        return Err(expected("a pair of key and value", pair).within(at));
                    };
                    self.value(key, name).map_err(|refusal| refusal.within(0).within(at))?;
                    self.value(element, value).map_err(|refusal| refusal.within(1).within(at))?;
                }
            }
            other if key.is_scalar() => return Err(expected("an object", other)),
            other => return Err(expected("a list of pairs", other)),
        }
        self.out.write_map_end().map_err(too_deep)
    }

    fn map_begin(&mut self, key: &Type, element: &Type, size: usize) -> Written {
        let size = i32::try_from(size).map_err(|_| Refusal::new("has too many members".to_owned()))?;
        let types: (TType, TType) = (key.wire(), element.wire());
        self.out.write_map_begin(&TMapIdentifier::new(types.0, types.1, size)).map_err(too_deep)
    }
}

/// A text as the JSON of a scalar: what a parameter says, or the name of a member.
pub(crate) fn from_text(ty: &Type, text: &str) -> Result<Value, Refusal> {
    match ty {
        Type::Bool => text.parse::<bool>().map(Value::from).map_err(|_| wanted("`true` or `false`", text)),
        Type::Enum(_) => Ok(text.parse::<i32>().map_or_else(|_| text.into(), Value::from)),
        Type::Struct(_) | Type::List(_) | Type::Set(_) | Type::Map(..) => Err(wanted("something else", text)),
        // Numbers may be texts.
        _ => Ok(text.into()),
    }
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Result<T, Refusal> {
    let number = match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            // `1.0` and `1e3` are whole numbers too.
            let float =
                number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0)?;
            Some(float as i64)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let bits = size_of::<T>() * 8;
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| expected(&format!("a whole number of {bits} bits"), value))
}

fn double(value: &Value) -> Result<f64, Refusal> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    };
    number.ok_or_else(|| expected("a number", value))
}

fn text(value: &Value) -> Result<&str, Refusal> {
    value.as_str().ok_or_else(|| expected("a string", value))
}

fn list(value: &Value) -> Result<(&[Value], i32), Refusal> {
    let list = value.as_array().ok_or_else(|| expected("a list", value))?;
    let size = i32::try_from(list.len()).map_err(|_| Refusal::new("has too many elements".to_owned()))?;
    Ok((list, size))
}

/// Of either alphabet (RFC 4648 §4 and §5), with padding or without.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let url = text.contains(['-', '_']);
    let padded = text.ends_with('=');
    match (url, padded) {
        (false, true) => Base64::decode_vec(text),
        (false, false) => Base64Unpadded::decode_vec(text),
        (true, true) => Base64Url::decode_vec(text),
        (true, false) => Base64UrlUnpadded::decode_vec(text),
    }
    .ok()
}

fn expected(what: &str, found: &Value) -> Refusal {
    wanted(what, &found.to_string())
}

fn wanted(what: &str, found: &str) -> Refusal {
    const SHOWN: usize = 60;
    let mut shown: String = found.chars().take(SHOWN).collect();
    if shown.len() < found.len() {
        shown.push('…');
    }
    Refusal::new(format!("expected {what}, found {shown}"))
}

/// The only thing that memory refuses.
fn too_deep(error: thrift::Error) -> Refusal {
    match error {
        thrift::Error::Protocol(error) => Refusal::new(error.message),
        other => Refusal::new(other.to_string()),
    }
}
