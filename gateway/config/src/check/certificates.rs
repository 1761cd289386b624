//! Certificates with their keys, and those of a listener that no client can ever get.

use gateway_core::model::CertificateFiles;
use gateway_http::secured::dns_names;
use rustls::{SignatureScheme, sign::CertifiedKey};

use super::{files, report::Report};
use crate::{file::Certificate, part::Part, yaml::join};

/// What keys of servers can sign with (RFC 8446 §4.2.3).
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

/// Those of a listener, in order.
pub(super) fn of_listener(list: &[Part<Certificate>], place: &str, report: &mut Report<'_>) -> Vec<CertificateFiles> {
    let mut all = Vec::new();
    let mut before: Vec<Known> = Vec::new();
    for (at, typed) in report.parts(list, place) {
        let (files, key) = load(typed, &at, report);
        all.push(files);
        let Some(known) = key.and_then(|key| Known::of(&key, &at)) else { continue };
        if let Some(other) = known.hidden_by(&before) {
            let line = report.line(other);
            let message = format!(
                "no client gets this certificate: the one on line {line} is of the same kind of key and comes first, and all names \
                 of this one have such a certificate before it; remove it, or put it first"
            );
            report.warn(&at, message);
        }
        before.push(known);
    }
    all
}

/// A certificate with its key, if they can be used.
pub(super) fn load(
    typed: &Certificate,
    place: &str,
    report: &mut Report<'_>,
) -> (CertificateFiles, Option<CertifiedKey>) {
    let files = CertificateFiles { cert: report.path(&typed.cert), key: report.path(&typed.key) };
    let (at_cert, at_key) = (join(place, "cert"), join(place, "key"));
    let chain = files::certificates(&files.cert).map_err(|message| report.value(&at_cert, message));
    let key = files::private_key(&files.key).map_err(|message| report.value(&at_key, message));
    let (Ok(chain), Ok(key)) = (chain, key) else { return (files, None) };
    let certified = files::certified(chain, key).map_err(|message| report.value(&at_key, message));
    (files, certified.ok())
}

/// What decides who gets a certificate (`server/tls.rs`): the names in it, and what its key signs with.
struct Known {
    names: Vec<String>,
    schemes: Vec<SignatureScheme>,
    place: String,
}

impl Known {
    fn of(key: &CertifiedKey, place: &str) -> Option<Self> {
        let schemes = SCHEMES.into_iter().filter(|scheme| key.key.choose_scheme(&[*scheme]).is_some()).collect();
        Some(Self { names: dns_names(key.cert.first()?), schemes, place: place.to_owned() })
    }

    /// The place of the first certificate that clients get instead. A client that names no server, or an unknown one, gets the first of
    /// a kind that it takes.
    fn hidden_by<'a>(&self, before: &'a [Self]) -> Option<&'a str> {
        let mut alike = before.iter().filter(|other| other.schemes == self.schemes);
        let first = alike.clone().next()?;
        let is_taken = |name: &String| alike.clone().any(|other| other.names.contains(name));
        let all_taken = self.names.iter().all(is_taken);
        // The one to compare with is one with the same names, if there is one.
        let same = alike.find(|other| self.names.iter().all(|name| other.names.contains(name)));
        all_taken.then(|| &*same.unwrap_or(first).place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_hidden_by_earlier_ones_with_its_names_and_its_kind_of_key() {
        let known = |names: &[&str], scheme, place: &str| Known {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            schemes: vec![scheme],
            place: place.to_owned(),
        };
        let (ec, rsa) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256);
        let before = [known(&["a", "b"], ec, "0"), known(&["*.c"], ec, "1"), known(&["d"], rsa, "2")];
        let hidden = |names: &[&str], scheme| known(names, scheme, "").hidden_by(&before).map(str::to_owned);
        assert_eq!(hidden(&["a"], ec).as_deref(), Some("0"));
        assert_eq!(hidden(&["*.c"], ec).as_deref(), Some("1"));
        assert_eq!(hidden(&["a", "*.c"], ec).as_deref(), Some("0"));
        // One that is found by its address alone.
        assert_eq!(hidden(&[], rsa).as_deref(), Some("2"));
        for (names, scheme) in [(&["a"][..], rsa), (&["x.c"], ec), (&["a", "e"], ec), (&["d"], ec)] {
            assert_eq!(hidden(names, scheme), None, "{names:?}");
        }
        assert_eq!(hidden(&[], SignatureScheme::ED25519), None);
    }
}
