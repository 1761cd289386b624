//! The data of exchanges that a component can read and write, by the functions that it imports and the interfaces that it exports.

use std::collections::BTreeMap;

use gateway_core::model::{
    Data,
    DataAccess::{self, Read, Write},
    DataUse,
};
use gateway_pipeline::Phases;
use gateway_rules::data_grants::BODY_EXPORTS;

use super::inspect::{ours, without_version};

const REQUEST: Data = Data::RequestHeaders;
const RESPONSE: Data = Data::ResponseHeaders;
const ATTRIBUTES: Data = Data::Attributes;

/// An interface, functions of it, and what they read or write.
type Functions = (&'static str, &'static [&'static str], &'static [(Data, DataAccess)]);

const FUNCTIONS: [Functions; 11] = [
    (
        "http",
        &[
            "[method]request.authority",
            "[method]request.path",
            "[method]request.query",
            "[method]request.original-target",
            "[method]request.header",
            "[method]request.header-values",
            "[method]request.headers",
            "[method]request.path-parameter",
            "[method]request.trace-parent",
        ],
        &[(REQUEST, Read)],
    ),
    (
        "http",
        &[
            "[method]request.set-method",
            "[method]request.set-path-with-query",
            "[method]request.set-header",
            "[method]request.append-header",
            "[method]request.remove-header",
        ],
        &[(REQUEST, Write)],
    ),
    ("http", &["[method]request.attribute"], &[(ATTRIBUTES, Read)]),
    ("http", &["[method]request.set-attribute", "[method]request.remove-attribute"], &[(ATTRIBUTES, Write)]),
    (
        "http",
        &["[method]response.header", "[method]response.header-values", "[method]response.headers"],
        &[(RESPONSE, Read)],
    ),
    (
        "http",
        &[
            "[method]response.set-status",
            "[method]response.set-header",
            "[method]response.append-header",
            "[method]response.remove-header",
        ],
        &[(RESPONSE, Write)],
    ),
    ("http", &["[method]selection.read"], &[(REQUEST, Read), (RESPONSE, Read), (ATTRIBUTES, Read)]),
    ("http", &["[method]edits.apply"], &[(REQUEST, Write), (RESPONSE, Write), (ATTRIBUTES, Write)]),
    ("bodies", &["replace-request"], &[(Data::RequestBody, Write), (REQUEST, Write)]),
    ("bodies", &["replace-response"], &[(Data::ResponseBody, Write), (RESPONSE, Write)]),
    ("cache", &["answer", "restore"], &[(Data::ResponseBody, Write), (RESPONSE, Write)]),
];

/// What a component can read and write if nothing is limited.
pub(super) fn data_use(imports: &BTreeMap<String, Vec<String>>, body_exports: &[String], phases: Phases) -> DataUse {
    let mut uses = DataUse::default();
    for (name, imported) in imports {
        let interface = without_version(name);
        for (of, functions, data) in FUNCTIONS {
            if interface == ours(of) && imported.iter().any(|function| functions.contains(&function.as_str())) {
                data.iter().for_each(|(data, access)| uses.add(*data, *access));
            }
        }
    }
    for export in BODY_EXPORTS {
        if body_exports.iter().any(|name| without_version(name) == ours(export.interface)) {
            let trailers = if export.data == Data::RequestBody { REQUEST } else { RESPONSE };
            for access in export.uses {
                uses.add(export.data, *access);
                if export.has_trailers {
                    uses.add(trailers, *access);
                }
            }
        }
    }
    if phases.request {
        // It can respond.
        uses.add(RESPONSE, Write);
        uses.add(Data::ResponseBody, Write);
    }
    uses
}
