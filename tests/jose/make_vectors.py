"""Writes tests/vectors/jose: one file per case, each with the reason that the reader has to give.

Usage: $(scripts/lib/python-venv) tests/jose/make_vectors.py [FOLDER]. Deterministic: running it again changes nothing.
Every case is spoilt in one place only: where a signature belongs, it is a valid one over the spoilt bytes.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FOLDER = pathlib.Path(sys.argv[1] if sys.argv[1:] else pathlib.Path(__file__).resolve().parent.parent / "vectors/jose")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1


def b64(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key(seed):
    return ec.derive_private_key(int.from_bytes(bytes([seed]) * 32, "big"), ec.SECP256R1())


def jwk(private):
    point = private.public_key().public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": b64(point.x.to_bytes(32, "big")), "y": b64(point.y.to_bytes(32, "big"))}


def thumbprint(private):
    return b64(hashlib.sha256(canonical(jwk(private)).encode()).digest())


def rs(private, message):
    der = private.sign(message.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return decode_dss_signature(der)


def raw(r, s):
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def prime(name):
    """The first prime after 1,024 bits that follow from a name (Miller and Rabin, bases 2 to 37)."""
    number = int.from_bytes(hashlib.shake_256(name.encode()).digest(128), "big") | (3 << 1022) | 1
    small = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]
    while True:
        odd = number - 1
        twos = (odd & -odd).bit_length() - 1
        odd >>= twos
        powers = lambda base: [pow(base, odd << turn, number) for turn in range(twos)]  # noqa: E731
        if all(number % base for base in small) and pow(2, number - 1, number) == 1 and (number - 2) % 65537 and all(
            found[0] == 1 or number - 1 in found for found in map(powers, small)
        ):
            return number
        number += 2


def rsa_key():
    p, q = prime("breakglass p"), prime("breakglass q")
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key()


def pss(private, message):
    """RSASSA-PSS with SHA-256 and a salt of 32 zeros, so that the vector is the same every time (RFC 8017, 9.1.1)."""
    numbers = private.private_numbers()
    size, salt = 256, bytes(32)
    digest = hashlib.sha256(bytes(8) + hashlib.sha256(message.encode()).digest() + salt).digest()
    block = bytes(size - 32 - 32 - 2) + b"\x01" + salt
    mask = b"".join(hashlib.sha256(digest + bytes([0, 0, 0, turn])).digest() for turn in range(7))
    masked = bytes(one ^ other for one, other in zip(block, mask))
    encoded = bytes([masked[0] & 0x7F]) + masked[1:] + digest + b"\xbc"
    number = pow(int.from_bytes(encoded, "big"), numbers.d, numbers.public_numbers.n)
    signature = number.to_bytes(size, "big")
    private.public_key().verify(signature, message.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    return signature


APPROVER, ISSUER, RECIPIENT, OTHER, EPHEMERAL = key(2), key(3), key(4), key(5), key(6)
written = set()


def case(kind, name, what, content, reason, **more):
    path = FOLDER / f"{kind}-{name}.json"
    assert path not in written, path
    written.add(path)
    vector = {"what": what, "kind": kind, "reason": reason} | more
    if isinstance(content, bytes):
        vector["input_base64"] = base64.b64encode(content).decode()
    else:
        vector["input"] = content
    # ASCII, so that what is invisible can be seen in the file.
    path.write_text(json.dumps(vector, indent=2, ensure_ascii=True) + "\n", encoding="ascii")


# --- json: the strict text itself ---------------------------------------------------------------------------------
def json_cases():
    def bad(name, what, text, reason):
        case("json", name, what, text, reason)

    bad("good", "a text that is accepted", '{"a":[1,-1,9007199254740991,true,null],"b":"\u00e9\\"\\\\"}', "OK")
    bad("good-utf16-order", "members in the order of UTF-16 code units", '{"\U0001f600":1,"\uff21":2}', "OK")
    for name, text in {
        "empty": "", "truncated": '{"a":1', "trailing-comma": '{"a":1,}', "leading-comma": "[,1]", "two-values": "{}{}",
        "single-quotes": "{'a':1}", "comment": "{}/**/", "no-quotes": "{a:1}", "plus-sign": "[+1]", "leading-zero": "[01]",
        "hexadecimal": "[0x10]", "nan": "[NaN]", "infinity": "[-Infinity]", "capital-true": "[True]",
        "raw-newline-in-text": '["a\nb"]', "raw-nul-in-text": '["a\0b"]', "unknown-escape": '["\\x41"]',
        "short-unicode-escape": '["\\u00e"]', "byte-order-mark": "\ufeff{}", "missing-colon": '{"a" 1}',
        "unclosed-text": '["a', "backslash-at-end": '["\\', "missing-value": '{"a":}', "lone-minus": "[-]",
    }.items():
        reason = "JSON_NOT_CANONICAL" if name == "missing-colon" else "JSON_MALFORMED"
        bad(name, f"no JSON: {name}", text, reason)
    bad("utf8-overlong", "UTF-8 in two bytes where one belongs", b'["\xc0\xaf"]', "JSON_MALFORMED")
    bad("utf8-surrogate", "a surrogate in UTF-8", b'["\xed\xa0\x80"]', "JSON_MALFORMED")
    bad("utf8-truncated", "UTF-8 that ends too early", b'["\xc3"]', "JSON_MALFORMED")
    for name, text in {
        "space-after-colon": '{"a": 1}', "newline-at-end": "{}\n", "space-before": " {}", "tab": "[1,\t2]",
        "members-unsorted": '{"b":1,"a":2}', "members-by-code-point": '{"\uff21":1,"\U0001f600":2}',
        "negative-zero": "[-0]", "escaped-slash": '["\\/"]', "escaped-letter": '["\\u0041"]',
        "escaped-quote-as-unicode": '["\\u0022"]', "duplicate-apart": '{"a":1,"b":2,"a":3}',
        "duplicate-by-escape": '{"a":1,"\\u0061":2}',
    }.items():
        bad(name, f"JSON of another form than RFC 8785: {name}", text, "JSON_NOT_CANONICAL")
    bad("duplicate", "one member twice", '{"a":1,"a":2}', "JSON_DUPLICATE_MEMBER")
    bad("duplicate-nested", "one member twice, inside", '{"a":[{"b":1,"b":1}]}', "JSON_DUPLICATE_MEMBER")
    bad("duplicate-quoted", "one member with an escape twice", '{"\\"":1,"\\"":2}', "JSON_DUPLICATE_MEMBER")
    for name, text in {"float": "[1.5]", "float-whole": "[1.0]", "exponent": "[1e3]", "exponent-negative": "[10E-1]"}.items():
        bad(name, "a number that is no plain integer", text, "JSON_NUMBER_NOT_INTEGER")
    for name, text in {
        "integer-2-53": "[9007199254740992]", "integer-2-53-plus-1": "[9007199254740993]",
        "integer-negative": "[-9007199254740992]", "integer-2-64": "[18446744073709551616]", "integer-huge": "[" + "9" * 400 + "]",
    }.items():
        bad(name, "an integer that a double does not hold for sure", text, "JSON_INTEGER_TOO_BIG")
    for name, character in {
        "bidi-override": "\u202e", "bidi-isolate": "\u2067", "bidi-mark": "\u200f", "arabic-letter-mark": "\u061c",
        "zero-width-space": "\u200b", "zero-width-joiner": "\u200d", "word-joiner": "\u2060", "soft-hyphen": "\u00ad",
        "byte-order-mark-inside": "\ufeff", "delete": "\u007f", "c1-next-line": "\u0085", "line-separator": "\u2028",
        "paragraph-separator": "\u2029", "private-use": "\ue000", "private-use-plane-16": "\U0010fffd",
        "noncharacter": "\ufffe", "unassigned": "\u0378", "tag-letter": "\U000e0041", "interlinear": "\ufff9",
    }.items():
        bad(name, f"U+{ord(character):04X} in a text", f'{{"reason":"a{character}b"}}', "TEXT_FORBIDDEN_CHARACTER")
    bad("bidi-in-name", "a bidi override in a member's name", '{"a\u202eb":1}', "TEXT_FORBIDDEN_CHARACTER")
    for name, escape in {"nul": "\\u0000", "newline": "\\n", "tab": "\\t", "escape-character": "\\u001b",
                         "lone-surrogate": "\\ud83d", "surrogate-pair": "\\ud83d\\ude00", "c1": "\\u0090"}.items():
        bad(f"escaped-{name}", f"an escaped {name}", f'["{escape}"]', "TEXT_FORBIDDEN_CHARACTER")
    for name, text in {"nfd": "e\u0301", "nfd-hangul": "\u1100\u1161", "singleton": "\u212b", "mark-order": "a\u0301\u0323",
                       "mark-after-quote": '\\"\u0338='}.items():
        reason = "OK" if name == "mark-after-quote" else "TEXT_NOT_NFC"
        bad(name, f"normalization: {name}", f'["{text}"]', reason)
    bad("nfd-in-name", "a member's name that is not NFC", '{"e\u0301":1}', "TEXT_NOT_NFC")
    bad("deep-32", "as deep as allowed", "[" * 32 + "]" * 32, "OK")
    bad("deep-33", "one level too deep", "[" * 33 + "]" * 33, "JSON_TOO_DEEP")
    bad("deep-30000", "deep enough to exhaust a stack", "[" * 30000, "JSON_TOO_DEEP")
    bad("too-long", "longer than the caller reads", '["' + "a" * 65536 + '"]', "TOO_LONG")


# --- statement: a General JWS with one approval --------------------------------------------------------------------
HEADER = {"alg": "ES256", "iat": 1700000000, "kid": thumbprint(APPROVER), "typ": "breakglass-approval+jws"}
PAYLOAD = '{"reason":"db down","ttl":900}'


def without(value, *names):
    return {name: member for name, member in value.items() if name not in names}


def entry(header, payload=PAYLOAD, private=APPROVER):
    text = header if isinstance(header, str) else canonical(header)
    protected = b64(text)
    return {"protected": protected, "signature": b64(raw(*rs(private, f"{protected}.{b64(payload)}")))}


def statement(header=None, **members):
    return canonical({"payload": b64(PAYLOAD), "signatures": [entry(header or HEADER)], **members})


def statement_header_cases():
    def header(name, what, value, reason):
        case("statement", name, what, statement(value), reason)

    header("good", "an approval", HEADER, "OK")
    header("good-station", "an approval at a station", HEADER | {"station": "ops-1"}, "OK")
    for alg in ("none", "None", "HS256", "es256", "ES384", "ES256K", "EdDSA", "RS256", "PS256", "", "ES256 "):
        name = {"": "empty", "ES256 ": "space", "None": "none-capital", "es256": "lowercase"}.get(alg, alg.lower())
        header(f"alg-{name}", f"the alg is {alg!r}", HEADER | {"alg": alg}, "ALG_NOT_ALLOWED")
    header("alg-missing", "no alg", without(HEADER, "alg"), "HEADER_MEMBER_MISSING")
    header("alg-list", "a list of algs", HEADER | {"alg": ["ES256"]}, "HEADER_MEMBER_MISSING")
    for name, value in {
        "jwk": jwk(APPROVER), "jku": "https://evil.example/jwks", "x5c": ["MIIB"], "x5u": "https://evil.example/c",
        "x5t#S256": "AAAA", "crit": ["b64"], "b64": True, "crv": "P-256", "cty": "json", "nonce": "n", "zip": "DEF",
        "unprotected": {}, "url": "https://bg.example",
    }.items():
        header(f"header-{name.replace('#', '-').lower()}", f"the header has {name}", HEADER | {name: value},
               "HEADER_MEMBER_NOT_ALLOWED")
    header("header-b64-false", "an unencoded payload (RFC 7797)", HEADER | {"b64": False, "crit": ["b64"]}, "HEADER_MEMBER_NOT_ALLOWED")
    header("kid-missing", "no kid", without(HEADER, "kid"), "HEADER_MEMBER_MISSING")
    header("kid-other", "the kid of another key", HEADER | {"kid": thumbprint(OTHER)}, "KID_MISMATCH")
    header("kid-short", "a kid of 16 bytes", HEADER | {"kid": b64(bytes(16))}, "LENGTH_WRONG")
    header("kid-trailing-bits", "a kid with trailing bits", HEADER | {"kid": thumbprint(APPROVER)[:-1] + "9"}, "BASE64_INVALID")
    header("kid-number", "a number as kid", HEADER | {"kid": 1}, "HEADER_MEMBER_MISSING")
    header("typ-missing", "no typ", without(HEADER, "typ"), "HEADER_MEMBER_MISSING")
    header("typ-denial", "a denial where an approval belongs", HEADER | {"typ": "breakglass-denial+jws"}, "TYP_UNEXPECTED")
    for name, typ in {"jwt": "JWT", "token": "at+jwt", "capital": "Breakglass-Approval+JWS", "long-form":
                      "application/breakglass-approval+jws", "unknown": "breakglass-party+jws"}.items():
        header(f"typ-{name}", f"the typ is {typ}", HEADER | {"typ": typ}, "TYP_UNKNOWN")
    header("iat-missing", "no iat", without(HEADER, "iat"), "HEADER_MEMBER_MISSING")
    header("iat-text", "a text as iat", HEADER | {"iat": "1700000000"}, "HEADER_MEMBER_MISSING")
    header("iat-negative", "an iat before 1970", HEADER | {"iat": -1}, "HEADER_VALUE_INVALID")
    header("iat-float", "an iat with a fraction", canonical(HEADER).replace("1700000000", "1700000000.5"), "JSON_NUMBER_NOT_INTEGER")
    header("iat-huge", "an iat beyond 2^53", HEADER | {"iat": 2**53}, "JSON_INTEGER_TOO_BIG")
    for name, station in {"empty": "", "capital": "Ops", "space": "ops 1", "long": "a" * 65, "number": 1, "null": None}.items():
        header(f"station-{name}", f"the station is {station!r}", HEADER | {"station": station}, "HEADER_VALUE_INVALID")
    header("header-unsorted", "header members out of order", json.dumps(dict(reversed(HEADER.items())), separators=(",", ":")),
           "JSON_NOT_CANONICAL")
    header("header-spaces", "a header with spaces", json.dumps(HEADER), "JSON_NOT_CANONICAL")
    header("header-duplicate", "alg twice", canonical(HEADER).replace('"iat"', '"alg":"none","iat"'), "JSON_DUPLICATE_MEMBER")
    header("header-no-object", "a header that is an array", "[]", "JSON_SHAPE_UNEXPECTED")
    header("header-long", "a header of 600 bytes", HEADER | {"zzz": "a" * 600}, "TOO_LONG")


def statement_body_cases():
    good = entry(HEADER)
    protected, signature = good["protected"], good["signature"]
    r, s = rs(APPROVER, f"{protected}.{b64(PAYLOAD)}")

    def body(name, what, reason, payload=b64(PAYLOAD), signatures=None, **member):
        text = canonical({"payload": payload, "signatures": [good | member] if signatures is None else signatures})
        case("statement", name, what, text, reason)

    body("good-high-s", "the other half of the same ECDSA signature is a signature too", "OK", signature=b64(raw(r, ORDER - s)))
    body("unprotected-header", "an unprotected header", "JSON_SHAPE_UNEXPECTED", header={"kid": thumbprint(APPROVER)})
    body("signature-extra-member", "a foreign member beside a signature", "JSON_SHAPE_UNEXPECTED", key="x")
    body("no-signatures", "an empty list of signatures", "SIGNATURE_COUNT", signatures=[])
    body("129-signatures", "one signature more than is read", "SIGNATURE_COUNT", signatures=[good] * 129)
    body("one-of-two-bad", "a good signature beside one of another payload", "SIGNATURE_INVALID", signatures=[good, entry(HEADER, "{}")])
    body("payload-changed", "another payload", "SIGNATURE_INVALID", payload=b64(PAYLOAD.replace("900", "901")))
    body("payload-padded", "a padded payload", "BASE64_INVALID", payload=b64("{}") + "==")
    body("payload-trailing-bits", "a payload with trailing bits", "BASE64_INVALID", payload="e31")
    body("payload-standard-alphabet", "the alphabet of plain base64", "BASE64_INVALID", payload="+/+/")
    body("payload-space", "a payload with a space", "BASE64_INVALID", payload="e3 0")
    body("payload-object", "a payload that is no text", "JSON_SHAPE_UNEXPECTED", payload={})
    body("signed-by-other", "signed by another key under this kid", "SIGNATURE_INVALID", signatures=[entry(HEADER, private=OTHER)])
    der = APPROVER.sign(f"{protected}.{b64(PAYLOAD)}".encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    body("signature-der", "a DER signature", "LENGTH_WRONG", signature=b64(der))
    body("signature-63", "63 bytes", "LENGTH_WRONG", signature=b64(raw(r, s)[:63]))
    body("signature-65", "65 bytes", "LENGTH_WRONG", signature=b64(raw(r, s) + b"\0"))
    body("signature-empty", "no bytes", "LENGTH_WRONG", signature="")
    body("signature-padded", "a padded signature", "BASE64_INVALID", signature=signature + "==")
    last = chr(ord(signature[-1]) + 1)
    body("signature-trailing-bits", "the same bytes with other trailing bits", "BASE64_INVALID", signature=signature[:-1] + last)
    body("signature-zero", "r and s are 0 (CVE-2022-21449)", "SIGNATURE_INVALID", signature=b64(bytes(64)))
    body("signature-s-plus-n", "s is n", "SIGNATURE_INVALID", signature=b64(raw(r, ORDER)))
    body("signature-swapped", "s before r", "SIGNATURE_INVALID", signature=b64(raw(s, r)))
    body("protected-empty", "no protected header", "JSON_MALFORMED", protected="")
    case("statement", "extra-member", "a foreign member at the top", statement(extra=1), "JSON_SHAPE_UNEXPECTED")
    flattened = canonical({"payload": b64(PAYLOAD)} | good)
    case("statement", "flattened", "the flattened serialization", flattened, "JSON_SHAPE_UNEXPECTED")
    compact = f"{protected}.{b64(PAYLOAD)}.{signature}"
    case("statement", "compact", "the compact serialization", compact, "JSON_MALFORMED")
    case("statement", "spaces", "spaces between members", json.dumps(json.loads(statement())), "JSON_NOT_CANONICAL")
    twice = statement().replace('"signatures"', '"payload":"e30","signatures"')
    case("statement", "duplicate-payload", "two payloads", twice, "JSON_DUPLICATE_MEMBER")


# --- token: a compact access token -----------------------------------------------------------------------------------
TOKEN = {"alg": "ES256", "kid": thumbprint(ISSUER), "typ": "at+jwt"}
CLAIMS = '{"iss":"https://bg.example"}'


def token(header, signature=None, private=ISSUER):
    text = header if isinstance(header, str) else canonical(header)
    message = f"{b64(text)}.{b64(CLAIMS)}"
    signed = b64(raw(*rs(private, message))) if signature is None else signature(message)
    return f"{message}.{signed}"


def token_cases():
    def bad(name, what, text, reason):
        case("token", name, what, text, reason)

    bad("good", "an access token", token(TOKEN), "OK")
    bad("alg-none", "no signature at all", token(TOKEN | {"alg": "none"}, lambda _: ""), "ALG_NOT_ALLOWED")
    bad("alg-none-signed", "alg none, yet signed", token(TOKEN | {"alg": "none"}), "ALG_NOT_ALLOWED")
    public = json.dumps(jwk(ISSUER)).encode()
    mac = lambda message: b64(hmac.new(public, message.encode(), "sha256").digest())  # noqa: E731
    bad("alg-hs256", "a MAC with the public key as secret", token(TOKEN | {"alg": "HS256"}, mac), "ALG_NOT_ALLOWED")
    bad("alg-lowercase", "es256", token(TOKEN | {"alg": "es256"}), "ALG_NOT_ALLOWED")
    bad("alg-es384", "another curve", token(TOKEN | {"alg": "ES384"}), "ALG_NOT_ALLOWED")
    bad("signature-empty", "ES256 without a signature", token(TOKEN, lambda _: ""), "LENGTH_WRONG")
    bad("signature-zero", "r and s are 0", token(TOKEN, lambda _: b64(bytes(64))), "SIGNATURE_INVALID")
    bad("signed-by-other", "signed by another key under this kid", token(TOKEN, private=OTHER), "SIGNATURE_INVALID")
    for name, typ in {"jwt": "JWT", "capital": "AT+JWT", "long-form": "application/at+jwt", "statement":
                      "breakglass-approval+jws", "status-list": "statuslist+jwt", "secevent": "secevent+jwt"}.items():
        bad(f"typ-{name}", f"the typ is {typ}", token(TOKEN | {"typ": typ}), "TYP_UNEXPECTED")
    bad("typ-missing", "no typ", token(without(TOKEN, "typ")), "HEADER_MEMBER_MISSING")
    bad("kid-missing", "no kid", token(without(TOKEN, "kid")), "HEADER_MEMBER_MISSING")
    bad("kid-other", "the kid of another key", token(TOKEN | {"kid": thumbprint(OTHER)}), "KID_MISMATCH")
    bad("kid-path", "a kid that is a path", token(TOKEN | {"kid": "../../dev/null"}), "BASE64_INVALID")
    for name, value in {"jwk": jwk(OTHER), "jku": "https://evil.example", "x5c": ["MIIB"], "crit": ["exp"], "iat": 1,
                        "b64": False}.items():
        bad(f"header-{name}", f"the header has {name}", token(TOKEN | {name: value}), "HEADER_MEMBER_NOT_ALLOWED")
    bad("header-unsorted", "alg, typ, kid", token(f'{{"alg":"ES256","typ":"at+jwt","kid":"{thumbprint(ISSUER)}"}}'),
        "JSON_NOT_CANONICAL")
    good = token(TOKEN)
    head, body, signature = good.split(".")
    bad("two-parts", "no signature part", f"{head}.{body}", "COMPACT_MALFORMED")
    bad("four-parts", "a part too many", f"{good}.", "COMPACT_MALFORMED")
    bad("no-dots", "one word", "token", "COMPACT_MALFORMED")
    bad("empty", "nothing", "", "COMPACT_MALFORMED")
    bad("newline", "a newline at the end", f"{good}\n", "BASE64_INVALID")
    bad("bearer", "with the word Bearer before it", f"Bearer {good}", "BASE64_INVALID")
    bad("payload-changed", "other claims", f"{head}.{b64('{}')}.{signature}", "SIGNATURE_INVALID")
    bad("payload-padded", "padded claims", f"{head}.{b64('{}')}==.{signature}", "BASE64_INVALID")
    last = chr(ord(signature[-1]) + 1)
    bad("signature-trailing-bits", "the same signature in other letters", good[:-1] + last, "BASE64_INVALID")
    bad("too-long", "more than 8,192 characters", f"{head}.{'A' * 8192}.{signature}", "TOO_LONG")


# --- issuing-token: an access token and the issuing key that should have signed it ------------------------------------
def issuing_keys():
    p384 = ec.derive_private_key(int.from_bytes(bytes([7]) * 48, "big"), ec.SECP384R1())
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32)
    large = rsa_key()
    point, number = p384.public_key().public_numbers(), large.public_key().public_numbers()
    es384 = lambda message: b"".join(  # noqa: E731
        part.to_bytes(48, "big")
        for part in decode_dss_signature(p384.sign(message.encode(), ec.ECDSA(hashes.SHA384(), deterministic_signing=True)))
    )
    modulus = {"e": "AQAB", "kty": "RSA", "n": b64(number.n.to_bytes(256, "big"))}
    return {
        "ES256": (jwk(ISSUER), lambda message: raw(*rs(ISSUER, message))),
        "ES384": (
            {"crv": "P-384", "kty": "EC", "x": b64(point.x.to_bytes(48, "big")), "y": b64(point.y.to_bytes(48, "big"))},
            es384,
        ),
        "EdDSA": (
            {"crv": "Ed25519", "kty": "OKP", "x": b64(edwards.public_key().public_bytes_raw())},
            lambda message: edwards.sign(message.encode()),
        ),
        "RS256": (modulus | {"alg": "RS256"}, lambda message: large.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())),
        "PS256": (modulus | {"alg": "PS256"}, lambda message: pss(large, message)),
    }


def issuing_cases():
    keys = issuing_keys()
    names = {public: b64(hashlib.sha256(canonical(without(keys[public][0], "alg")).encode()).digest()) for public in keys}

    def bad(name, what, text, public, reason):
        case("issuing-token", name, what, text, reason, key=canonical(keys[public][0]))

    def signed(alg, public, by=None):
        header = {"alg": alg, "kid": names[public], "typ": "at+jwt"}
        return token(header, lambda message: b64((by or keys[public][1])(message)))

    for alg in keys:
        good = signed(alg, alg)
        bad(f"{alg.lower()}-good", f"signed by {alg}", good, alg, "OK")
        head, _, signature = good.split(".")
        bad(f"{alg.lower()}-changed", "other claims", f"{head}.{b64('{}')}.{signature}", alg, "SIGNATURE_INVALID")
        bad(f"{alg.lower()}-empty", "no signature", f"{good.rsplit('.', 1)[0]}.", alg, "LENGTH_WRONG")
        short = b64(base64.urlsafe_b64decode(signature + "==")[:-1])
        bad(f"{alg.lower()}-short", "a byte too few", f"{good.rsplit('.', 1)[0]}.{short}", alg, "LENGTH_WRONG")
        bad(f"{alg.lower()}-none", "alg none", signed("none", alg), alg, "ALG_NOT_ALLOWED")
        secret = canonical(keys[alg][0]).encode()
        mac = lambda message, secret=secret: hmac.new(secret, message.encode(), "sha256").digest()  # noqa: E731
        bad(f"{alg.lower()}-hs256", "a MAC with the public key as secret", signed("HS256", alg, mac), alg, "ALG_NOT_ALLOWED")
        for other in keys:
            if other != alg:
                what = f"the header says {other}, the charter's key {alg}"
                bad(f"{alg.lower()}-as-{other.lower()}", what, signed(other, alg, keys[other][1]), alg, "ALG_NOT_ALLOWED")
                what = f"the header says {alg}, but it was signed by {other}"
                reason = "SIGNATURE_INVALID" if len(keys[other][1]("x")) == len(keys[alg][1]("x")) else "LENGTH_WRONG"
                bad(f"{alg.lower()}-by-{other.lower()}", what, signed(alg, alg, keys[other][1]), alg, reason)


# --- issuing-key: the JWK of an issuing key ---------------------------------------------------------------------------
def issuing_key_cases():
    keys = {alg: public for alg, (public, _) in issuing_keys().items()}

    def bad(name, what, value, reason="JSON_SHAPE_UNEXPECTED"):
        case("issuing-key", name, what, canonical(value), reason)

    for alg, public in keys.items():
        bad(f"good-{alg.lower()}", f"for {alg}", public, "OK")
        for name, value in {"kid": "k", "use": "sig", "d": "AA", "key_ops": ["verify"]}.items():
            bad(f"{alg.lower()}-extra-{name.replace('_', '-')}", f"the member {name}", public | {name: value})
        for name in public:
            bad(f"{alg.lower()}-missing-{name}", f"no {name}", without(public, name))
    for alg in ("ES256", "ES384", "EdDSA"):
        bad(f"{alg.lower()}-with-alg", "an alg that goes without saying", keys[alg] | {"alg": alg})
        bad(f"{alg.lower()}-with-rs256", "the alg of another type of key", keys[alg] | {"alg": "RS256"})
        bad(f"{alg.lower()}-with-n", "a member of RSA keys", keys[alg] | {"n": "AQAB"})
    bad("ed25519-with-y", "a second coordinate", keys["EdDSA"] | {"y": keys["EdDSA"]["x"]})
    bad("es256-as-es384", "a point of P-256 on P-384", keys["ES256"] | {"crv": "P-384"})
    bad("p521", "another curve", keys["ES384"] | {"crv": "P-521"})
    large = keys["RS256"]
    for alg in ("ES256", "HS256", "none", "RS512", "RSA-OAEP", "rs256"):
        bad(f"rsa-with-{alg.lower()}", f"an RSA key for {alg}", large | {"alg": alg})
    bad("rsa-with-crv", "an RSA key on a curve", large | {"crv": "P-256"})
    modulus = base64.urlsafe_b64decode(large["n"] + "==")
    for name, what, value in [
        ("exponent-3", "the exponent 3", {"e": "Aw"}),
        ("exponent-zero-before", "65537 in four bytes", {"e": b64(b"\0\x01\0\x01")}),
        ("modulus-1024", "1,024 bits", {"n": b64(modulus[128:])}),
        ("modulus-2040", "2,040 bits", {"n": b64(b"\xff" + modulus[2:])}),
        ("modulus-2047", "2,047 bits", {"n": b64(b"\x7f" + modulus[1:])}),
        ("modulus-4104", "4,104 bits", {"n": b64(b"\xff" + modulus + modulus)}),
        ("modulus-zero-before", "a zero before the modulus", {"n": b64(b"\0" + modulus)}),
        ("modulus-even", "an even modulus", {"n": b64(modulus[:-1] + b"\0")}),
    ]:
        bad(f"rsa-{name}", what, large | value)


# --- jwe: a token on its way to the redeem key -----------------------------------------------------------------------
def seal(change=None, recipient=RECIPIENT, text=None):
    header = {"alg": "ECDH-ES", "cty": "JWT", "enc": "A256GCM", "epk": jwk(EPHEMERAL)}
    if change:
        change(header)
    protected = b64(text(header) if text else canonical(header))
    shared = EPHEMERAL.exchange(ec.ECDH(), recipient.public_key())
    info = b"".join(len(part).to_bytes(4, "big") + part for part in (b"A256GCM", b"", b""))
    derived = hashlib.sha256((1).to_bytes(4, "big") + shared + info + (256).to_bytes(4, "big")).digest()
    nonce = bytes(range(12))
    sealed = AESGCM(derived).encrypt(nonce, b"a.b.c", protected.encode())
    return [protected, "", b64(nonce), b64(sealed[:-16]), b64(sealed[-16:])]


def jwe_cases():
    def bad(name, what, parts, reason):
        case("jwe", name, what, ".".join(parts), reason)

    def header(name, what, change, reason):
        bad(name, what, seal(change), reason)

    good = seal()
    bad("good", "a sealed token", good, "OK")
    for alg in ("ECDH-ES+A256KW", "dir", "RSA-OAEP", "A256KW", "PBES2-HS256+A128KW", "none"):
        header(f"alg-{alg.lower()}", f"the alg is {alg}", lambda h, alg=alg: h.update(alg=alg), "ALG_NOT_ALLOWED")
    for enc in ("A128GCM", "A256CBC-HS512", "a256gcm"):
        header(f"enc-{enc.lower() if enc[0] == 'A' else 'lowercase'}", f"the enc is {enc}", lambda h, enc=enc: h.update(enc=enc), "ALG_NOT_ALLOWED")
    header("cty-missing", "no cty", lambda h: h.pop("cty"), "HEADER_MEMBER_MISSING")
    header("cty-lowercase", "the cty is jwt", lambda h: h.update(cty="jwt"), "HEADER_VALUE_INVALID")
    for name, value in {"zip": "DEF", "apu": "QQ", "apv": "QQ", "kid": "k", "crit": ["exp"], "p2c": 10**9}.items():
        header(f"header-{name}", f"the header has {name}", lambda h, n=name, v=value: h.update({n: v}), "HEADER_MEMBER_NOT_ALLOWED")
    header("epk-missing", "no ephemeral key", lambda h: h.pop("epk"), "HEADER_MEMBER_MISSING")
    header("epk-private", "an ephemeral key with its secret", lambda h: h["epk"].update(d="AA"), "HEADER_VALUE_INVALID")
    header("epk-off-curve", "an ephemeral key off the curve", lambda h: h["epk"].update(y=h["epk"]["x"]), "HEADER_VALUE_INVALID")
    header("epk-p384", "an ephemeral key of another curve", lambda h: h["epk"].update(crv="P-384"), "HEADER_VALUE_INVALID")
    bad("header-unsorted", "header members out of order", seal(text=lambda h: json.dumps(dict(reversed(h.items())), separators=(",", ":"))),
        "JSON_NOT_CANONICAL")
    bad("other-recipient", "sealed to another key", seal(recipient=OTHER), "DECRYPT_FAILED")
    bad("encrypted-key", "an encrypted key where none belongs", [good[0], "AA", *good[2:]], "COMPACT_MALFORMED")
    bad("nonce-16", "a nonce of 16 bytes", [good[0], "", b64(bytes(16)), *good[3:]], "LENGTH_WRONG")
    bad("tag-12", "a shortened tag", [*good[:4], b64(base64.urlsafe_b64decode(good[4] + "==")[:12])], "LENGTH_WRONG")
    bad("tag-zero", "a tag of zeros", [*good[:4], b64(bytes(16))], "DECRYPT_FAILED")
    bad("ciphertext-cut", "a shorter ciphertext", [*good[:3], good[3][:4], good[4]], "DECRYPT_FAILED")
    bad("three-parts", "a JWS", good[:3], "COMPACT_MALFORMED")
    bad("too-long", "more than 32,768 characters", [*good[:3], "A" * 32768, good[4]], "TOO_LONG")


# --- key: a public P-256 JWK ------------------------------------------------------------------------------------------
def key_cases():
    good = jwk(APPROVER)
    number = lambda value: b64(value.to_bytes(32, "big"))  # noqa: E731

    def bad(name, what, value, reason="JSON_SHAPE_UNEXPECTED"):
        case("key", name, what, value if isinstance(value, str) else canonical(value), reason)

    bad("good", "a public key", good, "OK")
    for name, value in {"kid": "k", "alg": "ES256", "use": "sig", "key_ops": ["verify"], "d": "AA", "x5c": []}.items():
        bad(f"extra-{name.replace('_', '-')}", f"the member {name}", good | {name: value})
    for name in good:
        bad(f"missing-{name}", f"no {name}", without(good, name))
    bad("crv-p384", "another curve", good | {"crv": "P-384"})
    bad("crv-lowercase", "p-256", good | {"crv": "p-256"})
    bad("kty-okp", "another type", good | {"kty": "OKP"})
    bad("off-curve", "a point off the curve", good | {"y": good["x"]})
    bad("zero", "the point (0, 0)", good | {"x": number(0), "y": number(0)})
    bad("x-is-p", "x is not reduced", good | {"x": number(PRIME)})
    root = 0x66485C780E2F83D72433BD5D84A06BB6541C2AF31DAE871728BF856A174F93F4  # y of x = 0
    bad("good-x-0", "x is 0, a point of the curve", good | {"x": number(0), "y": number(root)}, "OK")
    bad("x-is-p-on-curve", "x is p, the same point not reduced", good | {"x": number(PRIME), "y": number(root)})
    bad("x-short", "31 bytes", good | {"x": b64(bytes(31))})
    bad("x-long", "33 bytes", good | {"x": b64(bytes(33))})
    bad("x-padded", "a padded x", good | {"x": good["x"] + "="})
    bad("x-number", "a number as x", good | {"x": 1})
    bad("unsorted", "members out of order", json.dumps(dict(reversed(good.items())), separators=(",", ":")), "JSON_NOT_CANONICAL")


FOLDER.mkdir(parents=True, exist_ok=True)
for make in (json_cases, statement_header_cases, statement_body_cases, token_cases, issuing_cases, issuing_key_cases, jwe_cases, key_cases):
    make()
for stale in set(FOLDER.glob("*.json")) - written:
    stale.unlink()
print(f"{len(written)} vectors")
