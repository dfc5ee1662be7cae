//! What a proxy says of the request that it asks about.
//!
//! Invariants: only the headers of the configured kind of proxy are read, so that a client cannot smuggle in those of another;
//! a header that comes twice is refused, since proxy and application could read different ones.

use axum::http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use crate::gate::{
    certificate,
    config::{Proxy, ProxyKind},
    decide::{Refusal, Request},
};

/// The names of one kind of proxy: method, target, host, scheme.
const fn names(kind: ProxyKind) -> [&'static str; 4] {
    match kind {
        ProxyKind::Nginx => ["x-original-method", "x-original-uri", "x-original-host", "x-original-proto"],
        ProxyKind::Traefik | ProxyKind::Caddy => {
            ["x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto"]
        }
    }
}

/// The request that the proxy asks about.
pub(super) fn request<'a>(headers: &'a HeaderMap, proxy: &Proxy) -> Result<Request<'a>, Refusal> {
    let [method, target, host, scheme] = names(proxy.kind);
    let certificate = match &proxy.certificate {
        Some(header) => single(headers, &header.name, "with the client's certificate")?,
        None => None,
    };
    let format = proxy.certificate.as_ref().map(|header| header.format);
    let certificate = match (certificate, format) {
        (Some(text), Some(format)) => certificate::digest(text, format)?,
        _ => None,
    };
    Ok(Request {
        method: named(headers, method)?.ok_or(Refusal::Unsaid("method"))?,
        target: named(headers, target)?.ok_or(Refusal::Unsaid("target"))?,
        host: named(headers, host)?,
        scheme: named(headers, scheme)?,
        authorization: single(headers, &AUTHORIZATION, "Authorization")?,
        dpop: named(headers, "dpop")?,
        certificate,
    })
}

fn named<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    single(headers, &HeaderName::from_static(name), name)
}

/// The value of a header that comes once at most. An empty one says nothing.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, Refusal> {
    Ok(once(headers, name, shown)?.filter(|text| !text.is_empty()))
}

/// The value of a header that comes once at most.
pub(in crate::gate) fn once<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Repeated(shown));
    }
    value.to_str().map(Some).map_err(|_| Refusal::Unreadable(shown))
}
