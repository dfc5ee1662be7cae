"""Reads security events with PyJWT, knowing only their issuer's URL.

Usage: events.py TASK.json. Prints, as its last line, the claims of each.
"""

import json
import sys
import urllib.request

import jwt

task = json.load(open(sys.argv[1], encoding="utf-8"))
with urllib.request.urlopen(task["issuer"] + "/.well-known/openid-configuration") as answer:
    discovery = json.load(answer)
keys = jwt.PyJWKClient(discovery["jwks_uri"])


def read(token):
    assert jwt.get_unverified_header(token)["typ"] == "secevent+jwt"
    claims = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=["ES256"],
        audience=task["audience"],
        issuer=task["issuer"],
        options={"require": ["iat", "jti", "events"]},
    )
    # RFC 8417 sections 2.2 and 4.1: no exp, and no sub at the top, lest it pass for an access token.
    assert "exp" not in claims and "sub" not in claims, claims
    return claims


print(json.dumps([read(token) for token in task["tokens"]]))
