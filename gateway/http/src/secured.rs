//! What a TLS connection says about itself and its client, as attributes of every exchange on it. They come from
//! the handshake alone: no header and no plugin can set them.
//!
//! | attribute | value |
//! |---|---|
//! | `tls.version` | `1.2` or `1.3` |
//! | `tls.cipher` | the cipher suite, by its IANA name |
//! | `tls.server-name` | the name that the client asked for (SNI), if it did |
//! | `tls.client.fingerprint` | SHA-256 of the client's certificate in hexadecimal; absent if it showed none |
//! | `tls.client.subject`, `tls.client.issuer` | distinguished names, as RFC 4514 writes them |
//! | `tls.client.subject.cn` | the subject's most specific common name |
//! | `tls.client.serial` | the serial number in hexadecimal |
//! | `tls.client.san.dns`, `.uri`, `.email`, `.ip` | alternative names of each kind, with `,` between them |

use std::fmt::Write;

use aws_lc_rs::digest;
use gateway_rules::attributes::TLS;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{OID_X509_COMMON_NAME, Oid},
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Name},
};

/// The DNS names in a certificate, in lower case.
pub fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let leaf = EndEntityCert::try_from(certificate);
    leaf.map(|leaf| leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
}

/// The same for all exchanges of one connection.
#[derive(Debug)]
pub struct Secured {
    pub version: &'static str,
    pub cipher: &'static str,
    pub server_name: Option<Box<str>>,
    /// Absent where the client showed no certificate.
    pub client: Option<Box<ClientCertificate>>,
}

/// A certificate that was verified before anyone looks into it here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    fingerprint: Box<str>,
    subject: Box<str>,
    common_name: Option<Box<str>>,
    issuer: Box<str>,
    serial: Box<str>,
    dns: Option<Box<str>>,
    uri: Option<Box<str>>,
    email: Option<Box<str>>,
    ip: Option<Box<str>>,
}

impl Secured {
    pub fn attribute(&self, key: &str) -> Option<&str> {
        match key.strip_prefix(TLS)? {
            "version" => Some(self.version),
            "cipher" => Some(self.cipher),
            "server-name" => self.server_name.as_deref(),
            key => self.client.as_ref()?.attribute(key.strip_prefix("client.")?),
        }
    }
}

impl ClientCertificate {
    /// Reads a certificate in DER; none if it is none, which verification has ruled out.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut read = Self {
            fingerprint: hexadecimal(digest::digest(&digest::SHA256, der).as_ref()),
            subject: distinguished_name(certificate.subject()),
            common_name: common_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            serial: hexadecimal(certificate.raw_serial()),
            ..Self::default()
        };
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        let listed = |of: fn(&GeneralName<'_>) -> Option<String>| {
            let names: Vec<String> = names.iter().filter_map(of).collect();
            (!names.is_empty()).then(|| names.join(",").into_boxed_str())
        };
        read.dns = listed(|name| if let GeneralName::DNSName(name) = name { Some(element(name)) } else { None });
        read.uri = listed(|name| if let GeneralName::URI(name) = name { Some(element(name)) } else { None });
        read.email = listed(|name| if let GeneralName::RFC822Name(name) = name { Some(element(name)) } else { None });
        read.ip = listed(|name| if let GeneralName::IPAddress(octets) = name { address(octets) } else { None });
        Some(read)
    }

    fn attribute(&self, key: &str) -> Option<&str> {
        match key {
            "fingerprint" => Some(&self.fingerprint),
            "subject" => Some(&self.subject),
            "subject.cn" => self.common_name.as_deref(),
            "issuer" => Some(&self.issuer),
            "serial" => Some(&self.serial),
            "san.dns" => self.dns.as_deref(),
            "san.uri" => self.uri.as_deref(),
            "san.email" => self.email.as_deref(),
            "san.ip" => self.ip.as_deref(),
            _ => None,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> Box<str> {
    bytes
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
        .into()
}

/// A name in a list: what would end it, or hide from a reader, is percent-encoded.
fn element(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_graphic() && byte != b',' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

fn address(octets: &[u8]) -> Option<String> {
    match octets.len() {
        4 => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string()),
        16 => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string()),
        _ => None,
    }
}

/// RFC 4514 §2: the most specific part first.
fn distinguished_name(name: &X509Name<'_>) -> Box<str> {
    let mut sets: Vec<String> = Vec::new();
    for set in name.iter_rdn() {
        sets.push(set.iter().map(attribute).collect::<Vec<_>>().join("+"));
    }
    sets.reverse();
    sets.join(",").into()
}

/// `CN=anna`; an unknown type by its number and its value's bytes (RFC 4514 §2.4).
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    match (short_name(oid), attribute.as_str()) {
        (Some(name), Ok(text)) => format!("{name}={}", escaped(text)),
        _ => format!("{}=#{}", oid.to_id_string(), hexadecimal(attribute.as_slice())),
    }
}

/// The names of RFC 4514 §3, and the two that certificates often have besides.
fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    Some(match oid.to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// RFC 4514 §2.4, and control characters as their bytes: a value cannot pass for more than one.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => escaped.extend(['\\', c]),
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            '#' if at == 0 => escaped.push_str("\\#"),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(escaped, "\\{byte:02X}");
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn common_name(name: &X509Name<'_>) -> Option<Box<str>> {
    let attribute = name.iter_by_oid(&OID_X509_COMMON_NAME).last()?;
    let text = attribute.as_str().ok()?;
    // Not escaped, so that it is what was meant; what no name has makes it none.
    (!text.chars().any(char::is_control)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, string::Ia5String};

    use super::*;

    fn read(subject: &[(DnType, &str)], names: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
        }
        params.subject_alt_names = names;
        params.serial_number = Some(vec![0x0a, 0xff].into());
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::read(certificate.der()).unwrap()
    }

    fn ia5(text: &str) -> Ia5String {
        text.try_into().unwrap()
    }

    #[test]
    fn every_kind_of_name_has_its_attribute() {
        let certificate = read(
            &[(DnType::CountryName, "DE"), (DnType::OrganizationName, "Acme"), (DnType::CommonName, "anna")],
            vec![
                SanType::DnsName(ia5("a.example")),
                SanType::DnsName(ia5("b.example")),
                SanType::URI(ia5("spiffe://acme/anna")),
                SanType::Rfc822Name(ia5("anna@acme.example")),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8::1".parse().unwrap()),
            ],
        );
        let secured = Secured {
            version: "1.3",
            cipher: "TLS13_AES_128_GCM_SHA256",
            server_name: Some("api.example".into()),
            client: Some(Box::new(certificate)),
        };
        for (key, value) in [
            ("tls.version", "1.3"),
            ("tls.cipher", "TLS13_AES_128_GCM_SHA256"),
            ("tls.server-name", "api.example"),
            ("tls.client.subject", "CN=anna,O=Acme,C=DE"),
            ("tls.client.subject.cn", "anna"),
            ("tls.client.issuer", "CN=anna,O=Acme,C=DE"),
            ("tls.client.serial", "0aff"),
            ("tls.client.san.dns", "a.example,b.example"),
            ("tls.client.san.uri", "spiffe://acme/anna"),
            ("tls.client.san.email", "anna@acme.example"),
            ("tls.client.san.ip", "192.0.2.7,2001:db8::1"),
        ] {
            assert_eq!(secured.attribute(key), Some(value), "{key}");
        }
        assert_eq!(secured.attribute("tls.client.fingerprint").map(str::len), Some(64));
        for key in ["tls.client", "tls.client.", "tls.client.san", "version", "tls.nothing", ""] {
            assert_eq!(secured.attribute(key), None, "{key}");
        }
    }

    #[test]
    fn a_value_cannot_pass_for_another_one() {
        let certificate = read(
            &[(DnType::OrganizationName, "Acme, Inc."), (DnType::CommonName, "anna,CN=root+O=\"x\"\n")],
            vec![SanType::DnsName(ia5("a,admin.example")), SanType::URI(ia5("urn:a b,urn:admin"))],
        );
        assert_eq!(&*certificate.subject, r#"CN=anna\,CN\=root\+O\=\"x\"\0A,O=Acme\, Inc."#);
        assert_eq!(certificate.common_name, None);
        assert_eq!(certificate.dns.as_deref(), Some("a%2Cadmin.example"));
        assert_eq!(certificate.uri.as_deref(), Some("urn:a%20b%2Curn:admin"));
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let certificate = read(&[], Vec::new());
        assert_eq!((&*certificate.subject, certificate.common_name.as_deref()), ("", None));
        assert_eq!((certificate.dns.as_deref(), certificate.ip.as_deref()), (None, None));
        assert_eq!(ClientCertificate::read(b"garbage"), None);
    }
}
