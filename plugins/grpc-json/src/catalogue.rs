//! What can be called, for the gateway's routing table and for those who write clients.

use std::collections::HashSet;

use plugin_sdk::{Catalogue, Endpoint};
use serde_json::Value;

use crate::{
    GrpcJson, openapi,
    rule::{Segment, Template},
};

impl Catalogue for GrpcJson {
    fn endpoints(&self) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for binding in self.routes.all() {
            let about = format!("{}/{}", binding.method.parent_service().full_name(), binding.method.name());
            let method = if binding.verb == "*" { String::new() } else { binding.verb.clone() };
            endpoints.push(Endpoint { method, path: pattern(&binding.template), about: about.clone() });
            // Where clients of gRPC call it, who pass.
            let native = Endpoint { method: "POST".to_owned(), path: format!("/{about}"), about };
            if !endpoints.contains(&native) {
                endpoints.push(native);
            }
        }
        endpoints
    }

    fn openapi(&self) -> Option<Value> {
        Some(openapi::document(self.routes.all(), &self.forms))
    }
}

/// Names for what a template's segments stand for: the field's, with a number where a field has several segments.
pub(crate) fn names(template: &Template) -> Vec<String> {
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for (at, segment) in template.segments.iter().enumerate() {
        if let Segment::Literal(_) = segment {
            names.push(String::new());
            continue;
        }
        let covers = |variable: &&crate::rule::Variable| {
            at >= variable.from && variable.count.is_none_or(|count| at < variable.from + count)
        };
        let variable = template.variables.iter().find(covers);
        let name = variable.map_or_else(
            || "segment".to_owned(),
            |variable| variable.path.iter().map(|field| field.name()).collect::<Vec<_>>().join("_"),
        );
        let numbered = |number: usize| if number == 1 { name.clone() } else { format!("{name}_{number}") };
        let name = (1..).map(numbered).find(|name| !seen.contains(name)).unwrap_or_default();
        seen.insert(name.clone());
        names.push(name);
    }
    names
}

/// A template as the gateway has patterns. It knows no suffixes behind parameters, so a pattern may match more.
fn pattern(template: &Template) -> String {
    let mut path = String::new();
    for (at, (segment, name)) in template.segments.iter().zip(names(template)).enumerate() {
        let suffix = template.suffix.as_deref().filter(|_| at + 1 == template.segments.len());
        path.push('/');
        match segment {
            Segment::Literal(text) => {
                path.push_str(text);
                if let Some(suffix) = suffix {
                    path.push(':');
                    path.push_str(suffix);
                }
            }
            Segment::One => path.push_str(&format!("{{{name}}}")),
            Segment::Rest => path.push_str(&format!("{{*{name}}}")),
        }
    }
    path
}
