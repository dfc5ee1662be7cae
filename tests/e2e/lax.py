"""A verifier as most are: signature, audience and times by PyJWT, and nothing else. Tells what it thinks of each token."""

import json
import sys

import jwt

asked = json.load(sys.stdin)
# What most verifiers tolerate of a clock; without it a token minted in this very second may count as not valid yet.
LEEWAY_SECONDS = 30
key = jwt.PyJWK(asked["jwk"]).key
algorithms = [asked["jwk"]["alg"]]


def verdict(token):
    try:
        jwt.decode(token, key, algorithms=algorithms, audience=asked["audience"], leeway=LEEWAY_SECONDS)
        return "accepted"
    except jwt.InvalidTokenError as error:
        return type(error).__name__


print(json.dumps([verdict(token) for token in asked["tokens"]]))
