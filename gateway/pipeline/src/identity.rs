//! Who asks: what the client itself sent to identify itself, and what stages have found out about it since. Responses
//! that are stored are kept apart by it (RFC 9111 §3.5), whatever has become of the credentials on the way.

use gateway_rules::fields::Headers;
use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE},
};

use super::exchange::{Exchange, Phase};

/// Attributes by which the standard plugins say who the client is begin so.
const IDENTITY: [&str; 5] = ["jwt.", "api-key.", "basic-auth.", "ext-auth.", "oidc."];
/// By which a plugin that stores responses says that its operator allows consumers to share those that say so themselves.
const SHARING: &str = "cache.consumers";
/// One thing that tells who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trait<'a> {
    pub name: &'a str,
    pub value: &'a [u8],
    /// What it is known by.
    pub source: TraitSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraitSource {
    /// The client sent it, or its connection says so.
    Client,
    /// An attribute that the stage at this position has set.
    Stage(usize),
    /// A header that a stage has set, which may mean something else.
    Header,
}

/// The client is unknown: a stage that may identify it failed and was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCaller;

impl Exchange {
    /// The stage that an attribute which is set now makes known who the client is, if it may.
    ///
    /// Of the standard plugins it is known which attributes do. What others mean by theirs is not, so each counts: one too
    /// many keeps apart what could be shared, one too few gives a client what is another's.
    pub(super) fn identified_by(&self, key: &str) -> Option<usize> {
        let identifies = self.foreign_stage || IDENTITY.iter().any(|prefix| key.starts_with(prefix));
        ((identifies || key == SHARING) && self.phase == Phase::Request).then_some(self.stage)
    }

    /// Whether the present stage has said that consumers share responses. What another stage said is about its own.
    pub fn shares_between_consumers(&self) -> bool {
        let said = self.attributes.iter().find(|attribute| attribute.key == SHARING);
        said.is_some_and(|said| said.value == "share" && said.identified_by == Some(self.stage))
    }

    /// Notes that the present stage has set a header of the request.
    pub(super) fn note_header(&mut self, name: &HeaderName) {
        // Credentials that a standard plugin makes of something else tell who asks as well.
        if self.foreign_stage || *name == AUTHORIZATION || *name == COOKIE {
            self.caller.note(name);
        }
    }

    /// Everything that tells who asks, in an order that is always the same; nothing of an anonymous client.
    ///
    /// # Errors
    ///
    /// See [`UnknownCaller`].
    pub fn traits(&self) -> Result<impl Iterator<Item = Trait<'_>>, UnknownCaller> {
        if !self.skipped.is_empty() || self.caller.unknown {
            return Err(UnknownCaller);
        }
        let of_client = |name, value| Trait { name, value, source: TraitSource::Client };
        let authorization = self.caller.authorization.iter();
        let authorization = authorization.map(move |value| of_client("authorization", value.as_bytes()));
        let certificate = self.secured.as_ref().and_then(|secured| secured.attribute("tls.client.fingerprint"));
        let certificate = certificate.map(|print| of_client("certificate", print.as_bytes()));
        let attributes = self.attributes.identifying().filter(|attribute| attribute.key != SHARING);
        let attributes = attributes.filter_map(|attribute| {
            let source = TraitSource::Stage(attribute.identified_by?);
            Some(Trait { name: &attribute.key, value: attribute.value.as_bytes(), source })
        });
        let headers = self.caller.added.iter().flat_map(|name| {
            let values = self.request.headers.values_of(name.as_str());
            values.map(|value| Trait { name: name.as_str(), value: value.as_bytes(), source: TraitSource::Header })
        });
        Ok(authorization.chain(certificate).chain(attributes).chain(headers))
    }
}
