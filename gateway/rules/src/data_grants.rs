//! Which data of an exchange a plugin may read and write: the operator's grants, checked by name at each access.

use std::cmp::Ordering;

use crate::fields::has_underscore;

/// The name by which path and query are granted, as in HTTP/2 (RFC 9113 §8.3.1).
pub const PATH: &str = ":path";
/// The name by which edits of the method are granted.
pub const METHOD: &str = ":method";
/// The name by which edits of the status are granted (RFC 9113 §8.3.2).
pub const STATUS: &str = ":status";
/// The name by which the authority is granted.
pub const HOST: &str = "host";

/// A kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Header fields and trailers of requests, the authority, path and query.
    RequestHeaders,
    /// Header fields and trailers of responses.
    ResponseHeaders,
    /// Attributes of the exchange.
    Attributes,
    /// Bodies of requests.
    RequestBody,
    /// Bodies of responses.
    ResponseBody,
}

/// What is done with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataAccess {
    /// The plugin gets it.
    Read,
    /// The plugin sets, adds to, removes or replaces it.
    Write,
}

impl Data {
    /// All kinds: `ALL[data as usize] == data`.
    pub const ALL: [Self; 5] =
        [Self::RequestHeaders, Self::ResponseHeaders, Self::Attributes, Self::RequestBody, Self::ResponseBody];

    /// For the labels of metrics.
    pub fn name(self) -> &'static str {
        ["request-headers", "response-headers", "attributes", "request-body", "response-body"][self as usize]
    }
}

impl DataAccess {
    /// Both kinds: `ALL[access as usize] == access`.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// For the labels of metrics.
    pub fn name(self) -> &'static str {
        ["read", "write"][self as usize]
    }
}

/// Kinds of access to kinds of data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataUse(u16);

impl DataUse {
    const fn bit(data: Data, access: DataAccess) -> u16 {
        1 << (data as u16 * 2 + access as u16)
    }

    /// Adds one.
    pub fn add(&mut self, data: Data, access: DataAccess) {
        self.0 |= Self::bit(data, access);
    }

    /// Whether it is among them.
    pub fn has(self, data: Data, access: DataAccess) -> bool {
        self.0 & Self::bit(data, access) != 0
    }
}

/// Names that are granted. One with `*` at its end stands for all names that begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedNames {
    /// Sorted. Names of headers are in lower case.
    exact: Box<[Box<str>]>,
    /// Without the `*`.
    prefixes: Box<[Box<str>]>,
    ignore_case: bool,
}

impl GrantedNames {
    /// Names of headers, which are case-insensitive.
    pub fn of_headers<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(names.into_iter().map(str::to_ascii_lowercase), true)
    }

    /// Keys of attributes.
    pub fn of_attributes<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(names.into_iter().map(str::to_owned), false)
    }

    fn new(names: impl Iterator<Item = String>, ignore_case: bool) -> Self {
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for name in names {
            match name.strip_suffix('*') {
                Some(prefix) => prefixes.push(prefix.into()),
                None => exact.push(name.into_boxed_str()),
            }
        }
        for list in [&mut exact, &mut prefixes] {
            list.sort_unstable();
            list.dedup();
        }
        Self { exact: exact.into(), prefixes: prefixes.into(), ignore_case }
    }

    /// Whether the name is among them, in upper or lower case if it is a header's. Another spelling (`x_user` for `x-user`) is
    /// another name: a service may merge the two, but a grant of one is none of the other.
    pub fn allows(&self, name: &str) -> bool {
        let fold = |byte: u8| if self.ignore_case { byte.to_ascii_lowercase() } else { byte };
        let compare = |own: &str| -> Ordering { own.bytes().cmp(name.bytes().map(fold)) };
        let begins = |prefix: &str| {
            name.len() >= prefix.len() && prefix.bytes().zip(name.bytes()).all(|(own, byte)| own == fold(byte))
        };
        self.exact.binary_search_by(|own| compare(own)).is_ok() || self.prefixes.iter().any(|prefix| begins(prefix))
    }

    /// Whether the name is among them with `-` in place of each `_`.
    ///
    /// Services may take `x_user` for `x-user`, so an edit of one removes the other from the request (`fields`): a plugin that writes any
    /// spelling decides the value of the header. The grant that counts for that is the one of the usual spelling.
    fn allows_dashed(&self, name: &str) -> bool {
        !has_underscore(name) || self.allows(&name.replace('_', "-"))
    }

    /// The names that are granted for nothing, because they are not granted with `-` in place of each `_`.
    pub fn without_dashed(&self) -> impl Iterator<Item = String> + '_ {
        let prefixes = |prefix: &str| self.prefixes.iter().any(|own| prefix.starts_with(&**own));
        let exact = self.exact.iter().filter(|name| !self.allows_dashed(name)).map(|name| name.to_string());
        let of_prefixes = self.prefixes.iter().filter(move |prefix| !prefixes(&prefix.replace('_', "-")));
        exact.chain(of_prefixes.map(|prefix| format!("{prefix}*")))
    }

    /// Whether every name is among them.
    pub fn allows_all(&self) -> bool {
        self.prefixes.iter().any(|prefix| prefix.is_empty())
    }

    /// The names, in a form that does not depend on their order in the configuration.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let prefixes = self.prefixes.iter().map(|prefix| format!("{prefix}*"));
        self.exact.iter().map(|name| name.to_string()).chain(prefixes)
    }
}

/// What may be read, and what may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAccess {
    /// These names can be read.
    pub read: GrantedNames,
    /// These names can be written.
    pub write: GrantedNames,
}

/// Which bodies may be read, and which may be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyAccess {
    /// Bodies of requests can be read.
    pub read_request: bool,
    /// Bodies of responses can be read.
    pub read_response: bool,
    /// Bodies of requests can be written.
    pub write_request: bool,
    /// Bodies of responses can be written.
    pub write_response: bool,
}

/// What a plugin may read and write. A kind of data that is not limited is granted as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataGrants {
    /// Headers of requests, their trailers, `host` and `:path`.
    pub request_headers: Option<NamedAccess>,
    /// Headers of responses, their trailers and `:status`.
    pub response_headers: Option<NamedAccess>,
    /// Attributes.
    pub attributes: Option<NamedAccess>,
    /// Bodies.
    pub body: Option<BodyAccess>,
}

impl DataGrants {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    fn named(&self, data: Data) -> Option<&NamedAccess> {
        match data {
            Data::RequestHeaders => self.request_headers.as_ref(),
            Data::ResponseHeaders => self.response_headers.as_ref(),
            Data::Attributes => self.attributes.as_ref(),
            Data::RequestBody | Data::ResponseBody => None,
        }
    }

    /// The names that are granted, if the kind is limited and has names.
    pub fn names_of(&self, data: Data, access: DataAccess) -> Option<&GrantedNames> {
        self.named(data).map(|named| match access {
            DataAccess::Read => &named.read,
            DataAccess::Write => &named.write,
        })
    }

    /// Whether a plugin may do this with data of this name. Bodies have none.
    pub fn allows(&self, data: Data, access: DataAccess, name: &str) -> bool {
        match (data, access, self.body) {
            (Data::RequestBody, DataAccess::Read, Some(body)) => body.read_request,
            (Data::RequestBody, DataAccess::Write, Some(body)) => body.write_request,
            (Data::ResponseBody, DataAccess::Read, Some(body)) => body.read_response,
            (Data::ResponseBody, DataAccess::Write, Some(body)) => body.write_response,
            _ => self.names_of(data, access).is_none_or(|names| {
                names.allows(name)
                    && (data != Data::RequestHeaders || access == DataAccess::Read || names.allows_dashed(name))
            }),
        }
    }

    /// Whether a plugin may do this with all data of a kind.
    pub fn allows_all(&self, data: Data, access: DataAccess) -> bool {
        match data {
            Data::RequestBody | Data::ResponseBody => self.allows(data, access, ""),
            _ => self.names_of(data, access).is_none_or(GrantedNames::allows_all),
        }
    }

    /// What is granted, by kind, in the order and the form in which `gateway.lock` lists it. `*` stands for everything.
    pub fn by_kind(&self) -> [(&'static str, Vec<String>); 8] {
        use DataAccess::{Read, Write};
        let everything = || vec!["*".to_owned()];
        let named = |data, access| self.names_of(data, access).map_or_else(everything, |names| names.names().collect());
        let bodies = |access| {
            let sides = [(Data::RequestBody, "request"), (Data::ResponseBody, "response")];
            let granted = sides.into_iter().filter(|(data, _)| self.allows(*data, access, ""));
            if self.body.is_none() { everything() } else { granted.map(|(_, side)| side.to_owned()).collect() }
        };
        [
            ("request-headers-read", named(Data::RequestHeaders, Read)),
            ("request-headers-write", named(Data::RequestHeaders, Write)),
            ("response-headers-read", named(Data::ResponseHeaders, Read)),
            ("response-headers-write", named(Data::ResponseHeaders, Write)),
            ("attributes-read", named(Data::Attributes, Read)),
            ("attributes-write", named(Data::Attributes, Write)),
            ("body-read", bodies(Read)),
            ("body-write", bodies(Write)),
        ]
    }
}

/// An exported interface by which a component gets bodies, or messages, which are granted as bodies.
#[derive(Debug, Clone, Copy)]
pub struct BodyExport {
    /// The name of the interface.
    pub interface: &'static str,
    /// The bodies that it gets.
    pub data: Data,
    /// What it does with them.
    pub uses: &'static [DataAccess],
    /// What has to be granted, or the component is refused.
    pub needs: &'static [DataAccess],
    /// It gets the trailers as well.
    pub has_trailers: bool,
}

/// The interface of plugins that get messages: those of a direction that it may not read pass without it, so it needs no grant in
/// particular, but one of them.
pub const MESSAGE_FILTER: &str = "message-filter";

/// All of them.
pub const BODY_EXPORTS: [BodyExport; 6] = {
    const fn bodies(interface: &'static str, data: Data, accesses: &'static [DataAccess]) -> BodyExport {
        BodyExport { interface, data, uses: accesses, needs: accesses, has_trailers: true }
    }
    const fn messages(data: Data) -> BodyExport {
        BodyExport { interface: MESSAGE_FILTER, data, uses: &DataAccess::ALL, needs: &[], has_trailers: false }
    }
    [
        bodies("request-body-filter", Data::RequestBody, &[DataAccess::Read]),
        bodies("request-stream", Data::RequestBody, &DataAccess::ALL),
        bodies("response-body-filter", Data::ResponseBody, &[DataAccess::Read]),
        bodies("response-stream", Data::ResponseBody, &DataAccess::ALL),
        messages(Data::RequestBody),
        messages(Data::ResponseBody),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_granted_in_any_case_and_in_no_other_spelling() {
        let names = GrantedNames::of_headers(["X-Lang", "x-acme-*", ":path"]);
        for name in ["x-lang", "X-LANG", "x-acme-", "X-Acme-User", ":path"] {
            assert!(names.allows(name), "{name}");
        }
        for name in ["x_lang", "x-lan", "x-langs", "x-acme", "x_acme_user", "", ":method", "authorization"] {
            assert!(!names.allows(name), "{name}");
        }
        assert_eq!(names.names().collect::<Vec<_>>(), [":path", "x-lang", "x-acme-*"]);
    }

    #[test]
    fn a_header_with_an_underscore_is_written_only_by_a_plugin_that_may_write_the_usual_spelling() {
        let of = |write: &[&str]| DataGrants {
            request_headers: Some(NamedAccess {
                read: GrantedNames::of_headers(["x_user"]),
                write: GrantedNames::of_headers(write.iter().copied()),
            }),
            ..DataGrants::default()
        };
        let may = |write: &[&str], name| of(write).allows(Data::RequestHeaders, DataAccess::Write, name);
        assert!(!may(&["x_user"], "x_user") && !may(&["x_user"], "x-user") && !may(&["x_*"], "X_User"));
        assert!(may(&["x_user", "x-user"], "x_user") && may(&["x-*", "x_*"], "x_user") && may(&["x-user"], "x-user"));
        assert!(!may(&["x-user"], "x_user"));
        assert!(of(&[]).allows(Data::RequestHeaders, DataAccess::Read, "x_user"), "who reads changes nothing");
        let useless =
            |names: &[&str]| GrantedNames::of_headers(names.iter().copied()).without_dashed().collect::<Vec<_>>();
        assert_eq!(useless(&["x_user", "x_id", "x-id", "a_*", "b_*", "b-*", "c"]), ["x_user", "a_*"]);
        assert!(useless(&["*", "x_user", "x_*"]).is_empty());
    }

    #[test]
    fn keys_of_attributes_have_a_case() {
        let names = GrantedNames::of_attributes(["jwt.sub", "Acme.*"]);
        assert!(names.allows("jwt.sub") && names.allows("Acme.tier"));
        assert!(!names.allows("JWT.sub") && !names.allows("acme.tier"));
    }

    #[test]
    fn an_empty_list_grants_nothing_and_a_star_everything() {
        let (nothing, all) = (GrantedNames::of_headers([]), GrantedNames::of_headers(["*"]));
        assert!(!nothing.allows("x") && !nothing.allows("") && !nothing.allows_all());
        assert!(all.allows("x") && all.allows(":path") && all.allows_all());
        assert!(!GrantedNames::of_headers(["x-*"]).allows_all());
    }

    #[test]
    fn what_is_not_limited_is_granted_and_what_is_limited_is_only_what_is_listed() {
        let grants = DataGrants {
            request_headers: Some(NamedAccess {
                read: GrantedNames::of_headers(["x-a"]),
                write: GrantedNames::of_headers([]),
            }),
            body: Some(BodyAccess { write_response: true, ..BodyAccess::default() }),
            ..DataGrants::default()
        };
        assert!(grants.allows(Data::RequestHeaders, DataAccess::Read, "X-A"));
        assert!(!grants.allows(Data::RequestHeaders, DataAccess::Write, "x-a"));
        assert!(!grants.allows(Data::RequestHeaders, DataAccess::Read, "authorization"));
        assert!(grants.allows(Data::ResponseHeaders, DataAccess::Write, "set-cookie"));
        assert!(
            grants.allows_all(Data::Attributes, DataAccess::Read)
                && !grants.allows_all(Data::RequestHeaders, DataAccess::Read)
        );
        assert!(
            grants.allows(Data::ResponseBody, DataAccess::Write, "")
                && !grants.allows(Data::ResponseBody, DataAccess::Read, "")
        );
        assert!(!grants.allows(Data::RequestBody, DataAccess::Read, "") && !grants.is_unlimited());
        let kinds: Vec<_> =
            grants.by_kind().into_iter().map(|(kind, names)| format!("{kind} {}", names.join(","))).collect();
        assert_eq!(kinds[0], "request-headers-read x-a");
        assert_eq!((&*kinds[1], &*kinds[2]), ("request-headers-write ", "response-headers-read *"));
        assert_eq!((&*kinds[6], &*kinds[7]), ("body-read ", "body-write response"));
    }

    #[test]
    fn each_access_has_a_bit_of_its_own() {
        let mut uses = DataUse::default();
        uses.add(Data::Attributes, DataAccess::Write);
        for data in Data::ALL {
            for access in DataAccess::ALL {
                assert_eq!(uses.has(data, access), data == Data::Attributes && access == DataAccess::Write);
            }
            assert_eq!(Data::ALL[data as usize], data);
        }
    }
}
