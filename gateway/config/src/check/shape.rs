//! JSON Schema errors in our words: what was found, what was expected, and the valid name nearest to it.

use std::collections::HashSet;

use gateway_core::model::units::RANGE;
use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use super::{
    names::{any_of, cut, found, hint, nearest},
    range::{Outside, outside},
};
use crate::yaml::join;

/// Something that does not fit a schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// JSON Pointer to the value it is about.
    pub pointer: String,
    pub message: String,
    /// The message is about the value's key.
    pub on_key: bool,
    pub what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A key that does not exist, and the one that was probably meant.
    UnknownKey(Option<String>),
    /// A key that must be there. If it is only misspelt, that has a message of its own.
    MissingKey {
        key: String,
        /// One of these would do too.
        instead: Vec<String>,
        misspelt: bool,
    },
    /// A duration or size that is out of its range, and the end of the range that is nearest to it.
    OutOfRange(String),
    Other,
}

impl Misfit {
    pub(super) fn is_said_elsewhere(&self) -> bool {
        matches!(self.what, What::MissingKey { misspelt: true, .. })
    }
}

/// Everything about a value that does not fit.
pub(super) fn misfits(validator: &Validator, schema: &Value, value: &Value) -> Vec<Misfit> {
    let errors: Vec<_> = validator.iter_errors(value).collect();
    let mut all = Vec::new();
    explain_all(schema, &errors, &mut all);
    let misspelt: HashSet<String> = all
        .iter()
        .filter_map(|misfit| match &misfit.what {
            What::UnknownKey(Some(meant)) => {
                let (parent, _) = misfit.pointer.rsplit_once('/')?;
                Some(join(parent, meant))
            }
            _ => None,
        })
        .collect();
    for misfit in &mut all {
        if let What::MissingKey { key, instead, misspelt: is_misspelt } = &mut misfit.what {
            let mut keys = std::iter::once(&*key).chain(&*instead);
            *is_misspelt = keys.any(|key| misspelt.contains(&join(&misfit.pointer, key)));
        }
    }
    all
}

/// A value that is none of the allowed words is not also of the wrong type.
fn explain_all(schema: &Value, errors: &[ValidationError<'_>], all: &mut Vec<Misfit>) {
    let no_word: HashSet<&str> =
        errors.iter().filter(|e| !literals(e.kind()).is_empty()).map(|e| e.instance_path().as_str()).collect();
    for error in errors {
        if !matches!(error.kind(), Kind::Type { .. }) || !no_word.contains(error.instance_path().as_str()) {
            explain(schema, error, all);
        }
    }
}

fn explain(schema: &Value, error: &ValidationError<'_>, all: &mut Vec<Misfit>) {
    let pointer = error.instance_path().as_str();
    let value = error.instance().as_ref();
    // A list's items and the root have no key; a value that is not there is best shown by its key.
    let mut other = |message: String| {
        all.push(Misfit { pointer: pointer.to_owned(), message, on_key: value.is_null(), what: What::Other });
    };
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = known_keys(schema, error);
            for key in unexpected {
                let message = format!("unknown key `{}`{}", cut(key), hint(key, known.iter().copied()));
                let meant = nearest(key, known.iter().copied()).map(str::to_owned);
                let pointer = join(pointer, key);
                all.push(Misfit { pointer, message, on_key: true, what: What::UnknownKey(meant) });
            }
        }
        Kind::Required { property } => {
            let key = property.as_str().unwrap_or_default().to_owned();
            let message = format!("missing key `{key}`");
            all.push(Misfit {
                pointer: pointer.to_owned(),
                message,
                on_key: true,
                what: What::MissingKey { key, instead: Vec::new(), misspelt: false },
            });
        }
        Kind::PropertyNames { error: inner } => {
            let mut about = Vec::new();
            explain(schema, inner, &mut about);
            let key = inner.instance().as_str().unwrap_or_default().to_owned();
            for misfit in about {
                all.push(Misfit { pointer: join(pointer, &key), on_key: true, ..misfit });
            }
        }
        Kind::Custom { keyword, .. } if keyword == RANGE => {
            let Some(Outside { message, nearest }) = parent(schema, error).and_then(|place| outside(place, value))
            else {
                return;
            };
            let key = pointer.rsplit('/').next().unwrap_or_default();
            let message = format!("`{key}` {message}");
            all.push(Misfit { pointer: pointer.to_owned(), message, on_key: false, what: What::OutOfRange(nearest) });
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => alternatives(schema, error, context, all),
        // What `additionalProperties: false` becomes where no key is known.
        Kind::FalseSchema if !pointer.is_empty() => {
            let key = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
            let message = format!("unknown key `{}`", cut(&key));
            all.push(Misfit { pointer: pointer.to_owned(), message, on_key: true, what: What::UnknownKey(None) });
        }
        kind => other(match written_for_people(schema, error) {
            Some(expected) if matches!(kind, Kind::MinProperties { .. } | Kind::MaxProperties { .. }) => {
                expected.to_owned()
            }
            Some(expected) => format!("{expected}, found {}", found(value)),
            None => plain(kind, value).unwrap_or_else(|| fallback(error)),
        }),
    }
}

/// The one message for errors that concern a single value.
fn plain(kind: &Kind, value: &Value) -> Option<String> {
    let found = found(value);
    Some(match kind {
        Kind::Type { kind } => {
            let types = type_names(kind);
            format!("expected {}, found {found}{}", any_of(&types), quotes(value, types.iter().any(|t| t == TEXT)))
        }
        Kind::Enum { options } => choice(&strings(options), &[], value),
        Kind::Constant { expected_value } => match expected_value.as_str() {
            Some(text) => choice(&[text], &[], value),
            None => format!("expected `{expected_value}`, found {found}"),
        },
        Kind::Minimum { limit } => format!("expected at least {limit}, found {found}"),
        Kind::Maximum { limit } => format!("expected at most {limit}, found {found}"),
        Kind::ExclusiveMinimum { limit } => format!("expected more than {limit}, found {found}"),
        Kind::ExclusiveMaximum { limit } => format!("expected less than {limit}, found {found}"),
        Kind::MultipleOf { multiple_of } => format!("expected a multiple of {multiple_of}, found {found}"),
        Kind::MinLength { limit: 1 } => "expected text, found empty text".to_owned(),
        Kind::MinLength { limit } => format!("expected at least {limit} characters, found {found}"),
        Kind::MaxLength { limit } => format!("expected at most {limit} characters, found {found}"),
        Kind::MinItems { limit: 1 } => "the list is empty; it needs at least one item".to_owned(),
        Kind::MinItems { limit } => format!("the list is too short; it needs at least {limit} items"),
        Kind::MaxItems { limit } => format!("the list is too long; it has at most {limit} items"),
        Kind::AdditionalItems { limit } => format!("the list is too long; it has at most {limit} items"),
        Kind::MinProperties { limit: 1 } => "the mapping is empty; it needs at least one key".to_owned(),
        Kind::MinProperties { limit } => format!("the mapping is too small; it needs at least {limit} keys"),
        Kind::MaxProperties { limit } => format!("the mapping is too large; it has at most {limit} keys"),
        Kind::Pattern { pattern } => format!("expected text that matches `{pattern}`, found {found}"),
        Kind::Format { format } => format!("expected text in the format `{format}`, found {found}"),
        Kind::UniqueItems => "the items of the list must differ from each other".to_owned(),
        Kind::Contains => "no item of the list is of the kind that must be there".to_owned(),
        Kind::FalseSchema | Kind::Not { .. } => format!("{found} is not allowed here"),
        Kind::OneOfMultipleValid { .. } => "fits more than one of the forms that are allowed here".to_owned(),
        _ => return None,
    })
}

/// Of several forms, the errors of the one that was probably meant; if none was, what they all are.
fn alternatives(
    schema: &Value,
    error: &ValidationError<'_>,
    branches: &[Vec<ValidationError<'static>>],
    all: &mut Vec<Misfit>,
) {
    let pointer = error.instance_path().as_str();
    let here = |e: &&ValidationError<'static>| e.instance_path().as_str() == pointer;
    let (mut options, mut types) = (Vec::new(), Vec::new());
    let mut best: Option<(usize, &[ValidationError<'static>])> = None;
    for branch in branches {
        let literals: Vec<&str> = branch.iter().filter(here).flat_map(|e| literals(e.kind())).collect();
        let other_types = branch.iter().filter(here).find_map(|e| match e.kind() {
            Kind::Type { kind } => Some(type_names(kind)),
            _ => None,
        });
        if !literals.is_empty() {
            options.extend(literals);
        } else if let Some(names) = other_types {
            types.extend(names.into_iter().filter(|name| !types.contains(name)).collect::<Vec<_>>());
        } else {
            let cost = branch.iter().map(cost).sum();
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, branch));
            }
        }
    }
    let value = error.instance().as_ref();
    match best {
        Some((_, branch)) => {
            let before = all.len();
            explain_all(schema, branch, all);
            let keys: Vec<String> = branches.iter().filter_map(|branch| lacks_only(branch, pointer)).collect();
            if keys.len() > 1
                && let [Misfit { message, what: What::MissingKey { instead, .. }, .. }] = &mut all[before..]
            {
                let named: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                *message = format!("missing key {}", any_of(&named));
                *instead = keys;
            }
        }
        None => all.push(Misfit {
            pointer: pointer.to_owned(),
            message: match written_for_people(schema, error) {
                Some(expected) => format!("{expected}, found {}", found(value)),
                None => choice(&options, &types, value),
            },
            on_key: value.is_null(),
            what: What::Other,
        }),
    }
}

/// The key that a form wants of this value, if that is all that is wrong with it.
fn lacks_only(branch: &[ValidationError<'_>], pointer: &str) -> Option<String> {
    match branch {
        [only] if only.instance_path().as_str() == pointer => match only.kind() {
            Kind::Required { property } => property.as_str().map(str::to_owned),
            _ => None,
        },
        _ => None,
    }
}

/// How far a form is from what was typed: a wrong discriminator says most, a wrong value deep inside least.
fn cost(error: &ValidationError<'_>) -> usize {
    match error.kind() {
        Kind::Constant { .. } | Kind::Enum { .. } => 8,
        Kind::Required { .. } => 4,
        Kind::AdditionalProperties { unexpected } => 2 * unexpected.len(),
        _ => 1,
    }
}

fn choice(options: &[&str], types: &[String], value: &Value) -> String {
    let mut expected: Vec<String> = options.iter().map(|option| format!("`{option}`")).collect();
    expected.extend(types.iter().cloned());
    let meant = match value {
        Value::String(text) => nearest(text, options.iter().copied())
            .map(|option| format!("; did you mean `{option}`?"))
            .unwrap_or_default(),
        other => {
            let as_text = other.to_string();
            let text = types.iter().any(|name| name == TEXT) || options.contains(&as_text.as_str());
            quotes(value, text).to_owned()
        }
    };
    format!("expected {}, found {}{meant}", any_of(&expected), found(value))
}

/// YAML reads `1.2`, `yes: no` and `007` as it likes.
fn quotes(value: &Value, text_expected: bool) -> &'static str {
    if text_expected && matches!(value, Value::Number(_) | Value::Bool(_)) { "; put it in quotes" } else { "" }
}

fn literals(kind: &Kind) -> Vec<&str> {
    match kind {
        Kind::Enum { options } => strings(options),
        Kind::Constant { expected_value } => expected_value.as_str().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn strings(options: &Value) -> Vec<&str> {
    options.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

const TEXT: &str = "text";

fn type_names(kind: &TypeKind) -> Vec<String> {
    let name = |kind: JsonType| match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => TEXT,
        JsonType::Array => "a list",
        JsonType::Object => "a mapping",
    };
    match kind {
        TypeKind::Single(kind) => vec![name(*kind).to_owned()],
        TypeKind::Multiple(kinds) => kinds.iter().map(|kind| name(kind).to_owned()).collect(),
    }
}

/// The keyword that editors show instead of their own words.
fn written_for_people<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Option<&'a str> {
    let place = parent(schema, error)?;
    place.get("errorMessage").or_else(|| place.get("patternErrorMessage"))?.as_str()
}

fn known_keys<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Vec<&'a str> {
    let properties = parent(schema, error).and_then(|place| place.get("properties")?.as_object());
    properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// The schema whose keyword failed.
fn parent<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Option<&'a Value> {
    let (place, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(place)
}

/// The library's words, for keywords that are too rare to have ours.
fn fallback(error: &ValidationError<'_>) -> String {
    let masked = error.masked_with("the value").to_string();
    format!("does not fit the schema: {}", cut(&masked))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(schema: Value, value: Value) -> Vec<(String, String)> {
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let all = misfits(&validator, &schema, &value).into_iter();
        all.filter(|m| !m.is_said_elsewhere()).map(|m| (m.pointer, m.message)).collect()
    }

    fn only(schema: Value, value: Value) -> String {
        let all = messages(schema, value);
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().unwrap().1
    }

    #[test]
    fn types_are_named_as_people_name_them() {
        assert_eq!(only(json!({"type": "string"}), json!(5)), "expected text, found `5`; put it in quotes");
        assert_eq!(only(json!({"type": "object"}), json!([])), "expected a mapping, found a list");
        assert_eq!(only(json!({"type": "array"}), json!(null)), "expected a list, found nothing");
        assert_eq!(only(json!({"type": "boolean"}), json!("yes")), "expected `true` or `false`, found `yes`");
    }

    #[test]
    fn a_misspelt_key_is_one_mistake_and_not_also_a_missing_one() {
        let schema = json!({"type": "object", "properties": {"limit": {}, "per": {}}, "required": ["limit"],
            "additionalProperties": false});
        let all = messages(schema, json!({"limt": 1}));
        assert_eq!(all, [("/limt".to_owned(), "unknown key `limt`; did you mean `limit`?".to_owned())]);
    }

    #[test]
    fn of_several_keys_that_would_do_all_are_named_unless_one_is_misspelt() {
        let schema = json!({"type": "object", "properties": {"upstream": {}, "respond": {}},
            "anyOf": [{"required": ["upstream"]}, {"required": ["respond"]}], "additionalProperties": false});
        assert_eq!(only(schema.clone(), json!({})), "missing key `upstream` or `respond`");
        assert_eq!(only(schema, json!({"repsond": 1})), "unknown key `repsond`; did you mean `respond`?");
    }

    #[test]
    fn keys_behind_a_reference_are_known() {
        let schema =
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"b": {}}, "additionalProperties": false}}});
        assert_eq!(only(schema, json!({"x": 1})), "unknown key `x`; did you mean `b`?");
    }

    #[test]
    fn of_several_forms_the_one_with_the_right_type_speaks() {
        let schema =
            json!({"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "integer"}}}]});
        assert_eq!(
            messages(schema.clone(), json!({"a": "x"})),
            [("/a".into(), "expected a whole number, found `x`".into())]
        );
        assert_eq!(only(schema, json!([])), "expected text or a mapping, found a list");
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_right_ones() {
        let described = json!({"oneOf": [{"const": "fail", "type": "string"}, {"enum": ["skip"], "type": "string"}]});
        assert_eq!(only(described, json!("skipp")), "expected `fail` or `skip`, found `skipp`; did you mean `skip`?");
        let version = json!({"type": "string", "enum": ["1.2", "1.3"]});
        assert_eq!(only(version, json!(1.2)), "expected `1.2` or `1.3`, found `1.2`; put it in quotes");
    }

    #[test]
    fn a_schema_can_bring_its_own_words() {
        let schema = json!({"type": "string", "pattern": "^a$", "errorMessage": "expected an a"});
        assert_eq!(only(schema, json!("b")), "expected an a, found `b`");
    }
}
