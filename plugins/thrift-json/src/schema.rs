//! What the IDL says, resolved: types refer to each other by number.

use std::collections::HashMap;

use serde_json::Value;
use thrift::protocol::TType;

#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(crate) structs: Vec<Struct>,
    pub(crate) enums: Vec<Enum>,
    pub(crate) methods: Vec<Method>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    String,
    Binary,
    Uuid,
    /// A number in [`Schema::enums`].
    Enum(usize),
    /// A number in [`Schema::structs`]; unions and exceptions too.
    Struct(usize),
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>, Box<Self>),
}

#[derive(Debug, Default)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// Exactly one of its fields is there.
    pub(crate) is_union: bool,
    /// In the order of their numbers.
    pub(crate) fields: Vec<Field>,
    /// For an exception, what the IDL says.
    pub(crate) status: Option<u16>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) id: i16,
    pub(crate) name: String,
    pub(crate) need: Need,
    pub(crate) ty: Type,
    /// As an answer would have it.
    pub(crate) default: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
    /// Neither is said: it is sent if it is there or has a default, and not missed otherwise.
    Unsaid,
}

#[derive(Debug, Default)]
pub(crate) struct Enum {
    names: HashMap<i32, String>,
    numbers: HashMap<String, i32>,
}

#[derive(Debug)]
pub(crate) struct Method {
    /// `Service/method`.
    pub(crate) call: String,
    /// As the message has it.
    pub(crate) name: String,
    pub(crate) oneway: bool,
    pub(crate) arguments: Struct,
    /// None for `void`.
    pub(crate) result: Option<Type>,
    /// What it may throw, by the number in the result.
    pub(crate) throws: Vec<(i16, usize)>,
}

impl Type {
    /// As messages call it.
    pub(crate) fn wire(&self) -> TType {
        match self {
            Self::Bool => TType::Bool,
            Self::I8 => TType::I08,
            Self::I16 => TType::I16,
            Self::I32 | Self::Enum(_) => TType::I32,
            Self::I64 => TType::I64,
            Self::Double => TType::Double,
            Self::String | Self::Binary => TType::String,
            Self::Uuid => TType::Uuid,
            Self::Struct(_) => TType::Struct,
            Self::List(_) => TType::List,
            Self::Set(_) => TType::Set,
            Self::Map(..) => TType::Map,
        }
    }

    /// Whether one text can say it, so that it can be a parameter, or the name of a member.
    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Struct(_) | Self::List(_) | Self::Set(_) | Self::Map(..))
    }
}

impl Struct {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(crate) fn by_id(&self, id: i16) -> Option<(usize, &Field)> {
        let at = self.fields.binary_search_by_key(&id, |field| field.id).ok()?;
        Some((at, &self.fields[at]))
    }
}

impl Enum {
    pub(crate) fn add(&mut self, name: &str, number: i32) {
        // Several names may have one number; the first one is the name.
        self.names.entry(number).or_insert_with(|| name.to_owned());
        self.numbers.insert(name.to_owned(), number);
    }

    pub(crate) fn name(&self, number: i32) -> Option<&str> {
        self.names.get(&number).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.numbers.get(name).copied()
    }
}

impl Schema {
    pub(crate) fn find(&self, call: &str) -> Option<usize> {
        self.methods.iter().position(|method| method.call == call)
    }
}
