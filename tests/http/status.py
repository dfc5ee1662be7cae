"""Looks a token up in the status list with PyJWT and zlib, knowing only the token and the list issuer's URL.

Usage: status.py TASK.json. Prints, as its last line, the status of each token.
"""

import base64
import json
import sys
import urllib.request
import zlib

import jwt

task = json.load(open(sys.argv[1], encoding="utf-8"))


def fetch(url):
    return urllib.request.urlopen(url)


with fetch(task["issuer"] + "/.well-known/openid-configuration") as answer:
    discovery = json.load(answer)
assert discovery["issuer"] == task["issuer"], discovery
keys = jwt.PyJWKClient(discovery["jwks_uri"])


def status(token):
    claims = jwt.decode(token, options={"verify_signature": False})
    place = claims["status"]["status_list"]
    with fetch(place["uri"]) as answer:
        assert answer.headers["content-type"] == "application/statuslist+jwt"
        listed = answer.read().decode()
    assert jwt.get_unverified_header(listed)["typ"] == "statuslist+jwt"
    said = jwt.decode(
        listed,
        keys.get_signing_key_from_jwt(listed),
        algorithms=["ES256"],
        issuer=task["issuer"],
        options={"require": ["exp", "iat", "sub"]},
    )
    assert said["sub"] == place["uri"], said
    assert said["status_list"]["bits"] == 1, said
    text = said["status_list"]["lst"]
    bits = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return bits[place["idx"] // 8] >> (place["idx"] % 8) & 1


print(json.dumps([status(token) for token in task["tokens"]]))
