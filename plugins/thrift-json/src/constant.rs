//! Values that the IDL has, as the JSON of an answer has them.

use base64ct::{Base64, Encoding};
use pilota_thrift_parser::ConstValue;
use serde_json::{Map, Value};

use crate::{
    idl::{Named, Names, dotted, segments},
    schema::{Schema, Type},
};

const DEPTH: usize = 64;

/// A constant of a type, with enumerations by number.
pub(crate) fn value(
    names: &Names<'_>,
    schema: &Schema,
    file: usize,
    ty: &Type,
    value: &ConstValue,
    depth: usize,
) -> Result<Value, String> {
    if depth > DEPTH {
        return Err("a constant stands for itself, or is nested too deeply".to_owned());
    }
    let inner = |ty: &Type, typed: &ConstValue| self::value(names, schema, file, ty, typed, depth + 1);
    let integer = |least: i64, most: i64| match value {
        ConstValue::Int(number) if (least..=most).contains(&number.0) => Ok(Value::from(number.0)),
        _ => Err(format!("it is no whole number from {least} to {most}")),
    };
    if let ConstValue::Path(path) = value {
        return named(names, schema, file, ty, path, depth);
    }
    match ty {
        Type::Bool => match value {
            ConstValue::Bool(value) => Ok((*value).into()),
            ConstValue::Int(number) => Ok((number.0 != 0).into()),
            _ => Err("it is neither true nor false".to_owned()),
        },
        Type::I8 => integer(i8::MIN.into(), i8::MAX.into()),
        Type::I16 => integer(i16::MIN.into(), i16::MAX.into()),
        Type::I32 | Type::Enum(_) => integer(i32::MIN.into(), i32::MAX.into()),
        Type::I64 => integer(i64::MIN, i64::MAX),
        Type::Double => match value {
            ConstValue::Int(number) => Ok((number.0 as f64).into()),
            ConstValue::Double(text) => text.0.parse::<f64>().map(Value::from).map_err(|error| error.to_string()),
            _ => Err("it is no number".to_owned()),
        },
        Type::String | Type::Uuid | Type::Binary => match value {
            ConstValue::String(text) if *ty == Type::Binary => Ok(Base64::encode_string(text.as_bytes()).into()),
            ConstValue::String(text) => Ok((**text).into()),
            _ => Err("it is no text".to_owned()),
        },
        Type::List(element) | Type::Set(element) => match value {
            ConstValue::List(list) => list.iter().map(|value| inner(element, value)).collect(),
            // The parser cannot tell an empty one.
            ConstValue::Map(map) if map.is_empty() => Ok(Value::Array(Vec::new())),
            _ => Err("it is no list".to_owned()),
        },
        Type::Map(key, element) => match value {
            ConstValue::Map(map) if key.is_scalar() => {
                let member = |(name, value): &(ConstValue, ConstValue)| {
                    let name = match inner(key, name)? {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    Ok((name, inner(element, value)?))
                };
                map.iter().map(member).collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
            ConstValue::Map(map) => {
                let pair = |(name, value): &(ConstValue, ConstValue)| -> Result<Value, String> {
                    Ok(Value::Array(vec![inner(key, name)?, inner(element, value)?]))
                };
                map.iter().map(pair).collect()
            }
            ConstValue::List(list) if list.is_empty() => Ok(Value::Object(Map::new())),
            _ => Err("it is no map".to_owned()),
        },
        Type::Struct(number) => match value {
            ConstValue::Map(map) => {
                let typed = &schema.structs[*number];
                let member = |(name, value): &(ConstValue, ConstValue)| {
                    let ConstValue::String(name) = name else { return Err("a field's name is a text".to_owned()) };
                    let field =
                        typed.field(name).ok_or_else(|| format!("`{}` has no field `{}`", typed.name, &**name))?;
                    Ok((field.name.clone(), inner(&field.ty, value)?))
                };
                map.iter().map(member).collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
            _ => Err("it is no struct".to_owned()),
        },
    }
}

/// A constant by its name, or a value of an enumeration.
fn named(
    names: &Names<'_>,
    schema: &Schema,
    file: usize,
    ty: &Type,
    path: &pilota_thrift_parser::Path,
    depth: usize,
) -> Result<Value, String> {
    let parts = segments(path);
    if let Some((file, Named::Constant(constant))) = names.find(file, &parts) {
        return value(names, schema, file, ty, constant, depth + 1);
    }
    if let [owner @ .., name] = &parts[..]
        && let Some((_, Named::Enum(number))) = names.find(file, owner)
        && let Some(number) = schema.enums[number].number(name)
    {
        return match ty {
            Type::Enum(_) | Type::I32 | Type::I64 => Ok(number.into()),
            _ => Err("it is a number of an enumeration".to_owned()),
        };
    }
    Err(format!("there is no constant `{}`", dotted(path)))
}
