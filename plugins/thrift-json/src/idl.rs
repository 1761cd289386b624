//! Reads IDL files and what they include, and resolves every name.

use std::collections::{BTreeMap, HashMap};

use pilota_thrift_parser::{
    Attribute, ConstValue, Field as IdlField, File, FileParser, FileSource, Function, Item, Path, Service, StructLike,
    Ty, Type as IdlType,
};

use crate::{
    constant,
    schema::{Enum, Field, Method, Need, Schema, Struct, Type},
};

/// Files that one configuration may have, with those that are included.
const FILES: usize = 256;
/// Names that stand for names that stand for names …
const ALIASES: usize = 64;

/// Parsed files.
pub(crate) struct Files {
    files: Vec<(String, File)>,
    /// By file: the number of each file that it includes, by the name that it has there.
    includes: Vec<HashMap<String, usize>>,
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(crate) enum Named<'a> {
    Struct(usize),
    Enum(usize),
    Alias(&'a IdlType),
    Constant(&'a ConstValue),
    Service(&'a Service),
}

/// All names of all files.
pub(crate) struct Names<'a> {
    files: &'a Files,
    names: HashMap<(usize, &'a str), Named<'a>>,
}

impl Files {
    /// The file of this name and all that it includes, with `read` to get the text of a file.
    pub(crate) fn load(
        main: &[String],
        mut read: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, (usize, String)> {
        let mut files = Self { files: Vec::new(), includes: Vec::new() };
        let mut wanted: Vec<(usize, String)> = main.iter().cloned().enumerate().collect();
        let mut at = 0;
        while let Some((origin, name)) = wanted.get(at).cloned() {
            at += 1;
            if files.number(&name).is_some() {
                continue;
            }
            if files.files.len() == FILES {
                return Err((origin, format!("more than {FILES} files are included")));
            }
            let text = read(&name).map_err(|why| (origin, why))?;
            let file = FileParser::new(FileSource::new(&text)).parse().map_err(|error| {
                let why = format!("{error:?}");
                let why = why.strip_prefix("Failed to parse thrift file: inline").unwrap_or(&why);
                (origin, format!("file `{name}` is not Thrift's IDL{why}"))
            })?;
            for item in &file.items {
                if let Item::Include(include) = item {
                    wanted.push((origin, stem(&include.path).to_owned()));
                }
            }
            files.files.push((name, file));
        }
        for (_, file) in &files.files {
            let included = file.items.iter().filter_map(|item| match item {
                Item::Include(include) => Some(stem(&include.path)),
                _ => None,
            });
            let included = included.filter_map(|name| Some((name.to_owned(), files.number(name)?))).collect();
            files.includes.push(included);
        }
        Ok(files)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.files.iter().position(|(known, _)| known == name)
    }
}

/// `base/shared.thrift` is called `shared` by who includes it.
fn stem(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.strip_suffix(".thrift").unwrap_or(name)
}

/// What the files say. Only services of the first `main` files can be called, if they are among `services` or that is empty.
pub(crate) fn resolve(files: &Files, main: usize, services: &[String], multiplexed: bool) -> Result<Schema, String> {
    let mut schema = Schema::default();
    let mut names = Names { files, names: HashMap::new() };
    let mut structs = Vec::new();
    for (number, (_, file)) in files.files.iter().enumerate() {
        for item in &file.items {
            let (name, named) = match item {
                Item::Typedef(typedef) => (&typedef.alias, Named::Alias(&typedef.r#type)),
                Item::Constant(constant) => (&constant.name, Named::Constant(&constant.value)),
                Item::Enum(typed) => {
                    let mut values = Enum::default();
                    let mut next = 0;
                    for value in &typed.values {
                        let number = value.value.map_or(next, |value| value.0);
                        let small = i32::try_from(number)
                            .map_err(|_| format!("`{}.{}` does not fit in 32 bits", &*typed.name, &*value.name))?;
                        values.add(&value.name, small);
                        next = number + 1;
                    }
                    schema.enums.push(values);
                    (&typed.name, Named::Enum(schema.enums.len() - 1))
                }
                Item::Struct(typed) => {
                    (&typed.name, Named::Struct(add(&mut structs, number, &typed.struct_like, false)))
                }
                Item::Exception(typed) => {
                    (&typed.name, Named::Struct(add(&mut structs, number, &typed.struct_like, false)))
                }
                Item::Union(typed) => (&typed.name, Named::Struct(add(&mut structs, number, &typed.struct_like, true))),
                Item::Service(service) => (&service.name, Named::Service(service)),
                Item::Include(_) | Item::CppInclude(_) | Item::Namespace(_) => continue,
            };
            if names.names.insert((number, name), named).is_some() {
                return Err(format!("file `{}` has two things called `{}`", files.files[number].0, &**name));
            }
        }
    }
    let mut defaults = Vec::new();
    for (at, (number, typed, is_union)) in structs.iter().enumerate() {
        let mut made = names.structure(*number, &typed.name, &typed.fields)?;
        made.is_union = *is_union;
        made.status = status(typed)?;
        schema.structs.push(made);
        defaults.extend(typed.fields.iter().filter_map(|field| Some((at, *number, field.id, field.default.as_ref()?))));
    }
    // A default may be a struct, so all of them have to be known before.
    for (at, number, id, value) in defaults {
        let ty = schema.structs[at].by_id(id as i16).map(|(_, field)| field.ty.clone());
        let Some(ty) = ty else { continue };
        let value = constant::value(&names, &schema, number, &ty, value, 0)
            .map_err(|why| format!("the default of field {id} of `{}`: {why}", schema.structs[at].name))?;
        if let Some(field) = schema.structs[at].fields.iter_mut().find(|field| i32::from(field.id) == id) {
            field.default = Some(value);
        }
    }
    let mut found = Vec::new();
    for (number, (_, file)) in files.files.iter().enumerate().take(main) {
        for item in &file.items {
            if let Item::Service(service) = item {
                found.push(&*service.name);
                if services.is_empty() || services.iter().any(|name| **name == *service.name) {
                    names.methods(&mut schema, number, service, multiplexed)?;
                }
            }
        }
    }
    if let Some(missing) = services.iter().find(|name| !found.contains(&name.as_str())) {
        return Err(format!("there is no service `{missing}`; there is {}", found.join(", ")));
    }
    Ok(schema)
}

fn add<'a>(
    structs: &mut Vec<(usize, &'a StructLike, bool)>,
    file: usize,
    typed: &'a StructLike,
    is_union: bool,
) -> usize {
    structs.push((file, typed, is_union));
    structs.len() - 1
}

/// What an exception says about its status.
fn status(typed: &StructLike) -> Result<Option<u16>, String> {
    let said = typed.annotations.iter().find(|annotation| annotation.key == "http.status");
    let Some(said) = said else { return Ok(None) };
    let status = said.value.parse().ok().filter(|status| (400..600).contains(status));
    status.map(Some).ok_or_else(|| {
        format!("`{}` says `http.status = \"{}\"`, which is none from 400 to 599", &*typed.name, &*said.value)
    })
}

impl<'a> Names<'a> {
    /// What a name stands for in a file, and the file in which that is.
    pub(crate) fn find(&self, file: usize, path: &[&str]) -> Option<(usize, Named<'a>)> {
        match path {
            [name] => self.names.get(&(file, *name)).map(|named| (file, *named)),
            [prefix, name] => {
                let other = *self.files.includes[file].get(*prefix)?;
                self.names.get(&(other, *name)).map(|named| (other, *named))
            }
            _ => None,
        }
    }

    pub(crate) fn ty(&self, file: usize, ty: &IdlType, depth: usize) -> Result<Type, String> {
        if depth > ALIASES {
            return Err("a type stands for itself, or is nested too deeply".to_owned());
        }
        let inner = |ty: &IdlType| self.ty(file, ty, depth + 1).map(Box::new);
        Ok(match &ty.0 {
            Ty::Bool => Type::Bool,
            Ty::Byte | Ty::I8 => Type::I8,
            Ty::I16 => Type::I16,
            Ty::I32 => Type::I32,
            Ty::I64 => Type::I64,
            Ty::Double => Type::Double,
            Ty::String => Type::String,
            Ty::Binary => Type::Binary,
            Ty::Uuid => Type::Uuid,
            Ty::List { value, .. } => Type::List(inner(value)?),
            Ty::Set { value, .. } => Type::Set(inner(value)?),
            Ty::Map { key, value, .. } => Type::Map(inner(key)?, inner(value)?),
            Ty::Void => return Err("`void` is no type of a value".to_owned()),
            Ty::Path(path) => match self.find(file, &segments(path)) {
                Some((_, Named::Struct(number))) => Type::Struct(number),
                Some((_, Named::Enum(number))) => Type::Enum(number),
                Some((file, Named::Alias(ty))) => self.ty(file, ty, depth + 1)?,
                Some(_) | None => {
                    return Err(format!("file `{}` has no type `{}`", self.files.files[file].0, dotted(path)));
                }
            },
        })
    }

    /// Without defaults.
    fn structure(&self, file: usize, name: &str, typed: &[IdlField]) -> Result<Struct, String> {
        let mut fields = BTreeMap::new();
        for field in typed {
            let ty = self.ty(file, &field.ty, 0).map_err(|why| format!("`{name}.{}`: {why}", &*field.name))?;
            let need = match field.attribute {
                Attribute::Required => Need::Required,
                Attribute::Optional => Need::Optional,
                Attribute::Default => Need::Unsaid,
            };
            let id = i16::try_from(field.id).map_err(|_| format!("`{name}` has a field number {}", field.id))?;
            let made = Field { id, name: field.name.to_string(), need, ty, default: None };
            if fields.insert(id, made).is_some() {
                return Err(format!("`{name}` has two fields of number {id}"));
            }
        }
        Ok(Struct { name: name.to_owned(), fields: fields.into_values().collect(), ..Struct::default() })
    }

    /// The methods of a service, with those of the ones that it extends.
    fn methods(&self, schema: &mut Schema, file: usize, service: &Service, multiplexed: bool) -> Result<(), String> {
        let name = &*service.name;
        let (mut file, mut at) = (file, service);
        for _ in 0..ALIASES {
            for function in &at.functions {
                let method = self.method(schema, file, name, function, multiplexed);
                let method = method.map_err(|why| format!("method `{name}.{}`: {why}", &*function.name))?;
                if schema.find(&method.call).is_none() {
                    schema.methods.push(method);
                }
            }
            let Some(parent) = &at.extends else { return Ok(()) };
            match self.find(file, &segments(parent)) {
                Some((number, Named::Service(service))) => (file, at) = (number, service),
                _ => return Err(format!("service `{name}` extends `{}`, which is no service", dotted(parent))),
            }
        }
        Err(format!("service `{name}` extends itself"))
    }

    fn method(
        &self,
        schema: &Schema,
        file: usize,
        service: &str,
        function: &Function,
        multiplexed: bool,
    ) -> Result<Method, String> {
        let mut arguments = self.structure(file, "arguments", &function.arguments)?;
        for (typed, value) in function.arguments.iter().filter_map(|field| Some((field, field.default.as_ref()?))) {
            if let Some(field) = arguments.fields.iter_mut().find(|field| i32::from(field.id) == typed.id) {
                field.default = Some(constant::value(self, schema, file, &field.ty, value, 0)?);
            }
        }
        let result = match &function.result_type.0 {
            Ty::Void => None,
            _ => Some(self.ty(file, &function.result_type, 0)?),
        };
        let mut throws = Vec::new();
        for field in &function.throws {
            match self.ty(file, &field.ty, 0)? {
                Type::Struct(number) => throws.push((field.id as i16, number)),
                _ => return Err(format!("what it throws as `{}` is no exception", &*field.name)),
            }
        }
        if function.oneway && (result.is_some() || !throws.is_empty()) {
            return Err("a `oneway` method answers nothing and throws nothing".to_owned());
        }
        let name = &*function.name;
        Ok(Method {
            call: format!("{service}/{name}"),
            name: if multiplexed { format!("{service}:{name}") } else { name.to_owned() },
            oneway: function.oneway,
            arguments,
            result,
            throws,
        })
    }
}

pub(crate) fn segments(path: &Path) -> Vec<&str> {
    path.segments.iter().map(|ident| &**ident).collect()
}

pub(crate) fn dotted(path: &Path) -> String {
    segments(path).join(".")
}
