"""Opens our JOSE objects with jwcrypto and PyJWT, and writes objects of their making.

Usage: foreign.py OURS.json THEIRS.json. Fails loudly at the first thing that does not open.
"""

import json
import sys

import jwt
from jwcrypto import jwe, jwk, jws


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


with open(sys.argv[1], encoding="utf-8") as file:
    ours = json.load(file)
keys = {name: jwk.JWK(**key) for name, key in ours["keys"].items()}
public = {name: jwk.JWK(**key.export_public(as_dict=True)) for name, key in keys.items()}

# --- ours ---------------------------------------------------------------------------------------------------------
for name, thumbprint in ours["thumbprints"].items():
    assert public[name].thumbprint() == thumbprint, name

for name in ("requester", "custodian"):
    statement = jws.JWS()
    statement.deserialize(ours["jws"])
    statement.verify(public[name])
    assert statement.payload.decode() == ours["payload"]
try:
    statement = jws.JWS()
    statement.deserialize(ours["jws"])
    statement.verify(public["issuer"])
    raise SystemExit("jwcrypto accepted a key that signed nothing")
except jws.InvalidJWSSignature:
    pass

issuer = jwt.PyJWK(json.loads(public["issuer"].export_public()), algorithm="ES256")
claims = jwt.decode(ours["jwt"], issuer, algorithms=["ES256"], audience="db", issuer="https://bg.example")
assert claims == json.loads(ours["claims"])
assert jwt.get_unverified_header(ours["jwt"]) == {
    "alg": "ES256", "kid": ours["thumbprints"]["issuer"], "typ": "at+jwt"}

message = jwe.JWE()
message.deserialize(ours["jwe"], keys["recipient"])
assert message.payload.decode() == ours["jwt"]

# --- theirs -------------------------------------------------------------------------------------------------------
statement = jws.JWS(ours["payload"])
for name, header in zip(("requester", "custodian"), ours["headers"]):
    statement.add_signature(keys[name], None, header, None)
message = jwe.JWE(b"from afar", canonical({"alg": "ECDH-ES", "cty": "JWT", "enc": "A256GCM"}))
message.add_recipient(public["recipient"])
kid = ours["thumbprints"]["issuer"]
token = jwt.encode(json.loads(ours["claims"]), jwt.PyJWK(json.loads(keys["issuer"].export()), algorithm="ES256").key,
                   algorithm="ES256", headers={"kid": kid, "typ": "at+jwt"}, sort_headers=True)

with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump({"jws": canonical(json.loads(statement.serialize())), "jwts": [token],
               "jwes": [message.serialize(compact=True)]}, file)
