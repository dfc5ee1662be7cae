//! `[proxy]` and `[headers]`: who asks, how he says what was asked of him, and what he is told.

use std::{collections::BTreeSet, net::IpAddr};

use axum::http::HeaderName;
use serde::Deserialize;

/// How a proxy describes the request that it asks about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// `auth_request`, with `X-Original-Method`, `-URI`, and where needed `-Host` and `-Proto`, as the configuration sets them.
    #[default]
    Nginx,
    /// Forward-auth, with `X-Forwarded-Method`, `-Uri`, `-Host` and `-Proto`.
    Traefik,
    /// `forward_auth`, with the same headers as Traefik.
    Caddy,
}

/// How a proxy writes the client's certificate into a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateFormat {
    /// PEM, URL-encoded: nginx `$ssl_client_escaped_cert`.
    Pem,
    /// Base64 of the DER, URL-encoded or not: Traefik `X-Forwarded-Tls-Client-Cert`, Caddy
    /// `{http.request.tls.client.certificate_der_base64}`.
    Der,
    /// Envoy `X-Forwarded-Client-Cert`, exactly one element with `Hash` or `Cert`.
    Xfcc,
}

/// The header with the client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateHeader {
    /// Its name.
    pub name: HeaderName,
    /// How it is written.
    pub format: CertificateFormat,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    kind: ProxyKind,
    trusted: Option<BTreeSet<IpAddr>>,
    certificate: Option<RawCertificate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCertificate {
    header: String,
    format: CertificateFormat,
}

/// Who asks, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it describes a request.
    pub kind: ProxyKind,
    /// The addresses that may ask; nobody else is answered, since all that he says could be made up.
    pub trusted: BTreeSet<IpAddr>,
    /// Where the client's certificate is.
    pub certificate: Option<CertificateHeader>,
}

impl Raw {
    pub(super) fn check(self) -> Result<Proxy, String> {
        let loopback = || BTreeSet::from([[127, 0, 0, 1].into(), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
        let certificate = match self.certificate {
            Some(RawCertificate { header, format }) => {
                Some(CertificateHeader { name: name(&header)?, format })
            }
            None => None,
        };
        Ok(Proxy { kind: self.kind, trusted: self.trusted.unwrap_or_else(loopback), certificate })
    }
}

fn name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("{text:?} is no name of a header"))
}

/// Names of the headers that are handed to the application. The proxy has to clear what clients send under these names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Handed {
    /// Who has access.
    pub subject: String,
    /// Who asked for it: the same, or a tool.
    pub client: String,
    /// The request's id, which is the token's `jti`.
    pub request: String,
    /// The incident.
    pub incident: String,
    /// The profile.
    pub profile: String,
    /// Whether it is a rehearsal: `true` or `false`.
    pub drill: String,
    /// When the token ends, Unix seconds.
    pub expires: String,
    /// What was found to be allowed: `type:action`.
    pub action: String,
    /// On which resource.
    pub resource: String,
    /// Why it was refused.
    pub reason: String,
}

impl Default for Handed {
    fn default() -> Self {
        let name = |last: &str| format!("X-Breakglass-{last}");
        Self {
            subject: name("Subject"),
            client: name("Client"),
            request: name("Request"),
            incident: name("Incident"),
            profile: name("Profile"),
            drill: name("Drill"),
            expires: name("Expires"),
            action: name("Action"),
            resource: name("Resource"),
            reason: name("Reason"),
        }
    }
}

impl Handed {
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { subject, client, request, incident, profile, drill, expires, action, resource, reason } =
            self;
        let all = [subject, client, request, incident, profile, drill, expires, action, resource, reason];
        let mut names = BTreeSet::new();
        for text in all {
            if !names.insert(name(text)?.to_string()) {
                return Err(format!("[headers] names {text} twice"));
            }
        }
        Ok(())
    }
}
