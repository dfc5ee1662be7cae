//! What a configuration may say, and what it may not.

use super::*;

const GOOD: &str = r#"
name = "orders-1"
audience = "https://db.example"
genesis = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
charter = "chain.json"
state_dir = "/var/lib/gate"
key = "gate.key.pem"
certificate = "gate.cert.pem"
listen = "127.0.0.1:9400"
control = "127.0.0.1:9401"

[[daemons]]
address = "https://[::1]:8443/"

[[map]]
methods = ["GET"]
path = "/orders/{table}"
type = "database"
action = "read"
resource = "pg/prod/{table}"
"#;

fn parse(text: &str) -> Result<GateConfig, String> {
    GateConfig::parse(Path::new("/etc/bg/gate.toml"), text).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error} {source}")
    })
}

fn with(from: &str, to: &str) -> Result<GateConfig, String> {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replace(from, to))
}

#[test]
fn a_short_configuration_has_safe_defaults() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.max_stale, 10_000);
    assert!(!config.development);
    assert_eq!(config.charter, Path::new("/etc/bg/chain.json"));
    assert_eq!(config.state_dir, Path::new("/var/lib/gate"));
    assert_eq!(config.daemons, ["[::1]:8443"]);
    assert_eq!(config.proxy.trusted.len(), 2, "loopback only");
    assert!(config.proxy.certificate.is_none());
    let unix = with("127.0.0.1:9400", "unix:gate.sock").unwrap();
    assert_eq!(unix.listen, Some(Listen::Unix("/etc/bg/gate.sock".into())));
}

#[test]
fn what_is_not_understood_is_refused_and_said() {
    for (from, to, says) in [
        ("state_dir", "statedir", "unknown field `statedir`"),
        ("\n[[daemons]]", "max_stale = 61\n[[daemons]]", "max_stale is 1 to 60"),
        ("\n[[daemons]]", "max_stale = 0\n[[daemons]]", "max_stale is 1 to 60"),
        ("https://[::1]:8443/", "http://[::1]:8443", "no address"),
        ("https://[::1]:8443/", "https://host", "no address"),
        ("[[daemons]]\naddress = \"https://[::1]:8443/\"", "", "1 to 8 daemons"),
        ("127.0.0.1:9400", "localhost", "neither ADDRESS:PORT nor unix:PATH"),
        ("[\"GET\"]", "[\"get\"]", "the 1. [[map]] rule: \"get\" is no HTTP method"),
        ("/orders/{table}", "/orders/{table}?x", "no path pattern"),
        ("pg/prod/{table}", "pg/prod/{view}", "no part of the path has that name"),
        ("pg/prod/{table}", "pg/prod/*", "characters that no grant's"),
        ("path = ", "host = \"A.example:80\"\npath = ", "no host"),
        ("\n[[daemons]]", "[headers]\nsubject = \"a b\"\n[[daemons]]", "no name of a header"),
        ("\n[[daemons]]", "[headers]\nsubject = \"x-breakglass-client\"\n[[daemons]]", "twice"),
        ("\n[[daemons]]", "[proxy]\nkind = \"apache\"\n[[daemons]]", "unknown variant `apache`"),
        ("\n[[daemons]]", "[proxy]\ntrusted = [\"10.0.0.0/8\"]\n[[daemons]]", "invalid IP address"),
        (
            "\n[[daemons]]",
            "[proxy]\ncertificate = {header = \"X\", format = \"pkcs7\"}\n[[daemons]]",
            "pkcs7",
        ),
    ] {
        let told = with(from, to).map(|config| format!("{config:?}")).unwrap_err();
        assert!(told.contains(says), "{told:?} does not say {says:?}");
    }
    let cut = GOOD.split("[[map]]").next().unwrap();
    assert!(parse(cut).unwrap_err().contains("at least one [[map]] rule"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = testkit::temp_dir();
    let key = folder.path().join("gate.key.pem");
    fs::write(&key, "secret").unwrap();
    let config = with("gate.key.pem", key.to_str().unwrap()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(config.private_key().unwrap_err().to_string().contains("mode 640"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(config.private_key().unwrap(), key);
}
