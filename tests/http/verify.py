"""Verifies a token with PyJWT, knowing only the issuer's URL, and refuses what has to be refused.

Usage: verify.py TASK.json. Prints the claims of the good token as its last line.
"""

import json
import sys
import urllib.request

import jwt

task = json.load(open(sys.argv[1], encoding="utf-8"))
with urllib.request.urlopen(task["issuer"] + "/.well-known/openid-configuration") as answer:
    discovery = json.load(answer)
assert discovery["issuer"] == task["issuer"], discovery
keys = jwt.PyJWKClient(discovery["jwks_uri"])


def verify(token):
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=discovery["id_token_signing_alg_values_supported"],
        audience=task["audience"],
        issuer=task["issuer"],
        options={"require": ["exp", "iat", "nbf", "iss", "aud", "sub", "jti"]},
    )


for bad in task["bad"]:
    try:
        verify(bad)
    except jwt.PyJWTError:
        continue
    sys.exit("accepted what it should not: " + bad)
print(json.dumps(verify(task["good"])))
