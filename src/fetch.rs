//! Outgoing HTTP: verifiers that are shown something, hooks, receivers of events, gates.
//!
//! Invariants: a deadline holds from name resolution to the last byte of the answer; an answer is read up to a limit and
//! refused beyond it; no redirect is followed, since the charter names the place and nobody else does; no proxy and no
//! credentials come from the environment. TLS is checked by the roots of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR`
//! replace them).

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::domain::id::Endpoint;

/// Connections that are kept open to one place for the next question.
const IDLE: usize = 1;
/// Seconds for which they are.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// What a question says of its sender.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("breakglass/", env!("CARGO_PKG_VERSION")));

/// Why there is no answer. Nothing of the question is repeated in it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Neither was it reached, nor its certificate good.
    #[error("{place} was not reached: {why}")]
    Unreachable {
        /// Scheme, host and port.
        place: String,
        /// What the system or TLS says.
        why: String,
    },
    /// It took too long.
    #[error("{place} did not answer within {} ms", after.as_millis())]
    Late {
        /// Scheme, host and port.
        place: String,
        /// The deadline.
        after: Duration,
    },
    /// It answered more than was asked to be read.
    #[error("{place} answered more than {limit} bytes")]
    TooLong {
        /// Scheme, host and port.
        place: String,
        /// The limit.
        limit: usize,
    },
    /// What was to be sent is no request.
    #[error("no request to {place} can be made of this: {why}")]
    Question {
        /// Scheme, host and port.
        place: String,
        /// What is wrong.
        why: String,
    },
}

impl FetchError {
    /// Stable, `UPPER_SNAKE`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "UNREACHABLE",
            Self::Late { .. } => "NO_ANSWER_IN_TIME",
            Self::TooLong { .. } => "ANSWER_TOO_LONG",
            Self::Question { .. } => "QUESTION_INVALID",
        }
    }
}

/// What is asked.
#[derive(Clone)]
pub struct Question {
    method: Method,
    /// A URL.
    place: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Neither headers nor body are shown: they carry tokens.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Question {
    /// A GET.
    #[must_use]
    pub fn get(place: &Endpoint) -> Self {
        let place = place.to_string();
        Self { method: Method::GET, place, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A POST of this body.
    #[must_use]
    pub fn post(place: &Endpoint, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::post_statement(place.to_string(), media_type, body)
    }

    /// A POST of something that is signed and no secret, to a place that a person named: whoever is between the two can keep it
    /// back, and nothing else, so it need not be HTTPS.
    #[must_use]
    pub fn post_statement(place: String, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self { method: Method::POST, place, headers, body: body.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With a bearer token; a text that is none is left out, and the answer will say so.
    #[must_use]
    pub fn bearer(mut self, jwt: &str) -> Self {
        if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {jwt}")) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    fn request(self) -> Result<Request<Full<Bytes>>, String> {
        let uri: Uri = self.place.parse().map_err(|_| "its URL is not valid".to_owned())?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        request.headers_mut().insert(hyper::header::USER_AGENT, AGENT);
        Ok(request)
    }
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// Asks; cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// With the roots of the system. Without any, only plain HTTP (which names loopback alone) can be reached.
    #[must_use]
    pub fn new() -> Self {
        let tls = HttpsConnectorBuilder::new();
        let tls = match tls.with_provider_and_native_roots(rustls::crypto::ring::default_provider()) {
            Ok(tls) => tls,
            Err(error) => {
                tracing::warn!(%error, "the system has no certificate roots: no https:// place can be reached");
                HttpsConnectorBuilder::new().with_tls_config(without_roots())
            }
        };
        let connector = tls.https_or_http().enable_http1().build();
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_max_idle_per_host(IDLE).pool_idle_timeout(IDLE_FOR);
        Self { client: client.build(connector) }
    }

    /// Asks once. `within`: from now to the end of the answer. `limit`: bytes of its body.
    pub async fn ask(
        &self,
        question: Question,
        within: Duration,
        limit: usize,
    ) -> Result<Answer, FetchError> {
        let place = authority(&question.place);
        let request = question.request().map_err(|why| FetchError::Question { place: place.clone(), why })?;
        let asking = async {
            let unreachable = |why: String| FetchError::Unreachable { place: place.clone(), why };
            let answer = self.client.request(request).await.map_err(|error| unreachable(cause(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, limit).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    FetchError::TooLong { place: place.clone(), limit }
                } else {
                    unreachable(error.to_string())
                }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let late = || FetchError::Late { place: place.clone(), after: within };
        tokio::time::timeout(within, asking).await.unwrap_or_else(|_| Err(late()))
    }
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new()
    }
}

/// Trusts nobody.
fn without_roots() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    // The provider is ring's, whole: it has the default versions.
    versions.map_or_else(
        |_| {
            rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        },
        |builder| builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    )
}

/// Scheme, host and port: paths and queries may hold what is nobody's business.
fn authority(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// The innermost cause, which is the one that says something.
fn cause(error: &hyper_util::client::legacy::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    const LONG: Duration = Duration::from_secs(20);

    /// Answers the first connection with these bytes, or never where there are none, and returns what it was sent.
    async fn server(answer: &'static [u8]) -> (Endpoint, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("http://{}/hook?x=1", listener.local_addr().unwrap()).parse().unwrap();
        let served = tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = peer.read(&mut head).await.unwrap();
            peer.write_all(answer).await.unwrap();
            if answer.is_empty() {
                // Until the other side gives up.
                let _ = peer.read(&mut [0; 1]).await;
            }
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        (place, served)
    }

    #[tokio::test]
    async fn an_answer_comes_back_whole_and_a_redirect_is_not_followed() {
        let (place, served) =
            server(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nhi")
                .await;
        let question = Question::post(&place, "application/json", "{}").bearer("a.b.c");
        assert!(!format!("{question:?}").contains("a.b.c"));
        let answer = Fetcher::new().ask(question, LONG, 100).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (302, &b"hi"[..]));
        let sent = served.await.unwrap();
        assert!(sent.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("authorization: Bearer a.b.c\r\n"), "{sent}");
    }

    #[tokio::test]
    async fn too_much_too_late_and_nobody_there_are_told_apart() {
        let (place, served) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world").await;
        let error = Fetcher::new().ask(Question::get(&place), LONG, 10).await.unwrap_err();
        assert_eq!(error.reason(), "ANSWER_TOO_LONG");
        served.await.unwrap();

        let (place, served) = server(b"").await;
        let patience = Duration::from_millis(100);
        let error = Fetcher::new().ask(Question::get(&place), patience, 10).await.unwrap_err();
        assert_eq!(error.reason(), "NO_ANSWER_IN_TIME");
        assert!(!error.to_string().contains("hook"), "the path is shown: {error}");
        served.await.unwrap();

        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let place: Endpoint = format!("http://{gone}").parse().unwrap();
        let error = Fetcher::new().ask(Question::get(&place), LONG, 10).await.unwrap_err();
        assert_eq!(error.reason(), "UNREACHABLE");
    }
}
