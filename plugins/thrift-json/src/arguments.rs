//! The arguments of a call, from path, query and body.

use percent_encoding::percent_decode_str;
use plugin_sdk::query;
use serde_json::{Map, Value};

use crate::{
    calls::{Binding, place},
    config::Treatment,
    refusal::Refusal,
    schema::{Schema, Type},
    write::from_text,
};

/// Parameters of a query: each may make a list longer.
const PARAMETERS: usize = 1000;

/// Arguments, and those of them that the path or the query has, which are no place in the body.
pub(crate) struct Arguments {
    pub(crate) members: Map<String, Value>,
    pub(crate) parameters: Vec<Vec<String>>,
}

pub(crate) fn arguments(
    schema: &Schema,
    binding: &Binding,
    said: &[(&[String], &str)],
    query: &str,
    body: &[u8],
    unknown: Treatment,
) -> Result<Arguments, Refusal> {
    let typed = &schema.methods[binding.method].arguments;
    let mut members = match (body.is_empty(), &binding.body) {
        (true, _) => Map::new(),
        (false, None) => serde_json::from_slice(body).map_err(|error| not_json(&error, "an object of arguments"))?,
        (false, Some(name)) => {
            let value: Value = serde_json::from_slice(body).map_err(|error| not_json(&error, "a value"))?;
            Map::from_iter([(name.clone(), value)])
        }
    };
    let mut parameters = Vec::new();
    if query::pairs(query).count() > PARAMETERS {
        return Err(Refusal::new(format!("the query has more than {PARAMETERS} parameters")));
    }
    for (name, text) in query::pairs(query) {
        let (name, text) = (query::decode(name), query::decode(text));
        let renamed = binding.query.get(&*name).map(|place| place.join("."));
        let found = match place(schema, typed, renamed.as_deref().unwrap_or(&name)) {
            Ok(found) => found,
            Err(_) if unknown == Treatment::Ignore => continue,
            Err(_) => return Err(Refusal::of_parameter(&name, "is no argument")),
        };
        let (place, ty) = found;
        put(&mut members, &place, ty, &text, parameters.contains(&place))
            .map_err(|why| Refusal::of_parameter(&name, &why))?;
        parameters.push(place);
    }
    for (place, segment) in said {
        let name = place.join(".");
        let text = percent_decode_str(segment).decode_utf8();
        let text = text.map_err(|_| Refusal::of_parameter(&name, "is not UTF-8 when it is decoded"))?;
        let (_, ty) = self::place(schema, typed, &name).map_err(|why| Refusal::of_parameter(&name, &why))?;
        put(&mut members, place, ty, &text, false).map_err(|why| Refusal::of_parameter(&name, &why))?;
        parameters.push(place.to_vec());
    }
    Ok(Arguments { members, parameters })
}

/// Puts a parameter where it belongs; `again` if the same one was there before.
fn put(members: &mut Map<String, Value>, place: &[String], ty: &Type, text: &str, again: bool) -> Result<(), String> {
    let (element, is_list) = match ty {
        Type::List(element) | Type::Set(element) => (&**element, true),
        other => (other, false),
    };
    if !element.is_scalar() {
        return Err("is a struct, a list of lists or a map: name its fields, as in `a.b=1`, or use the body".to_owned());
    }
    let value = from_text(element, text).map_err(|refusal| format!("is not valid: {}", refusal.detail))?;
    let Some((last, way)) = place.split_last() else { return Ok(()) };
    let mut at = members;
    for name in way {
        let inner = at.entry(name.as_str()).or_insert_with(|| Value::Object(Map::new()));
        at = inner.as_object_mut().ok_or("is given as a value and as a struct")?;
    }
    match at.get_mut(last) {
        Some(Value::Array(list)) if is_list && again => list.push(value),
        Some(_) => return Err("is given more than once".to_owned()),
        None => {
            at.insert(last.clone(), if is_list { Value::Array(vec![value]) } else { value });
        }
    }
    Ok(())
}

fn not_json(error: &serde_json::Error, wanted: &str) -> Refusal {
    let what = if error.is_data() { "not" } else { "not JSON, so not" };
    Refusal::new(format!("the body is {what} {wanted}: {error}"))
}
