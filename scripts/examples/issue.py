#!/usr/bin/env python3
"""An issuing tool: files a request, waits for the custodians, redeems the JWT and prints it.

    issue.py --server localhost:8443 --server-cert daemon.pem --cert tool.pem --key tool.key \\
        --profile db-read --detail '{"type":"database","actions":["read"],"locations":["pg/prod/orders"]}' \\
        --reason 'failover stuck' --incident INC-7 --ttl 900 --cnf-out cnf.pem

Needs grpcio, grpcio-tools and cryptography, and the project's .proto files (--proto). It is meant to be read: every
step that another language has to take is here. Statements are JWS in General JSON Serialization (RFC 7515) over
canonical JSON (RFC 8785) by the key that also speaks TLS; the JWT comes back as a JWE (RFC 7516) to a fresh key.

The JWT goes to standard output, everything else to standard error.
Exit codes: 0 issued; 1 refused by the daemon; 2 wrong usage; 3 ended without a JWT (denied, lapsed, withdrawn, failed).
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import sys
import time
import unicodedata

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

HERE = pathlib.Path(__file__).resolve()
MAX_WAIT_MS = 30_000


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- encodings ------------------------------------------------------------------------------------------------------


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def canonical(value):
    """RFC 8785 for what statements hold: objects with ASCII names, strings without control characters, integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def jwk(public_key):
    numbers = public_key.public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}


def thumbprint(public_key):
    """RFC 7638: the digest of the JWK's required members, in order; that is what jwk() returns."""
    return b64(hashlib.sha256(canonical(jwk(public_key))).digest())


# --- statements -----------------------------------------------------------------------------------------------------


def sign(key, typ, payload, iat):
    """A JWS in General JSON Serialization with one signature. The protected header is exactly these four members."""
    header = {"alg": "ES256", "iat": iat, "kid": thumbprint(key.public_key()), "typ": f"breakglass-{typ}+jws"}
    protected = b64(canonical(header))
    der = key.sign(f"{protected}.{b64(payload)}".encode(), ec.ECDSA(hashes.SHA256()))
    signature = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der))
    return canonical({"payload": b64(payload), "signatures": [{"protected": protected, "signature": b64(signature)}]})


def open_jwe(compact, key):
    """RFC 7516 compact, ECDH-ES (direct) with A256GCM: RFC 7518, sections 4.6 and 5.3."""
    protected, encrypted_key, nonce, ciphertext, tag = compact.split(".")
    header = json.loads(unb64(protected))
    if (header.get("alg"), header.get("enc"), encrypted_key) != ("ECDH-ES", "A256GCM", ""):
        raise ValueError("not an ECDH-ES, A256GCM JWE")
    epk = header["epk"]
    point = [int.from_bytes(unb64(epk[name]), "big") for name in ("x", "y")]
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(*point, ec.SECP256R1()).public_key())
    algorithm = header["enc"].encode()
    length = len(algorithm).to_bytes(4, "big")
    # AlgorithmID, PartyUInfo and PartyVInfo (both empty), SuppPubInfo: the key's length in bits.
    info = length + algorithm + bytes(4) + bytes(4) + (256).to_bytes(4, "big")
    secret = ConcatKDFHash(hashes.SHA256(), 32, info).derive(shared)
    return AESGCM(secret).decrypt(unb64(nonce), unb64(ciphertext) + unb64(tag), protected.encode()).decode()


# --- the flow -------------------------------------------------------------------------------------------------------


def newest_charter(charter_pb2, stub, pinned):
    """The charter's members and digest. Only a digest that somebody told you by another way makes it believable."""
    jws = json.loads(stub.GetCharter(charter_pb2.GetCharterRequest()).jws)
    payload = unb64(jws["payload"])
    digest = b64(hashlib.sha256(payload).digest())
    if pinned and digest != pinned:
        raise SystemExit(f"issue.py: the daemon's charter is {digest}, not {pinned}: stop and ask the custodians")
    return json.loads(payload), digest


def detail(text):
    """One object of authorization_details (RFC 9396). Lists that stand for sets are sorted and without repetition."""
    return {name: sorted(set(value)) if isinstance(value, list) else value for name, value in json.loads(text).items()}


def grant(options, charter, digest, caller, key, cnf, redeem, now):
    profile = next((p for p in charter["profiles"] if p["id"] == options.profile), None)
    if profile is None:
        raise SystemExit(f"issue.py: the charter has no profile {options.profile}")
    return {
        "iss": charter["iss"],
        "charter": digest,
        "profile": profile["id"],
        "nonce": b64(os.urandom(16)),
        "sub": options.sub or caller,
        "client_id": caller,
        "requester_key": thumbprint(key.public_key()),
        "aud": profile["aud"],
        "authorization_details": [detail(text) for text in options.detail],
        "reason": unicodedata.normalize("NFC", options.reason),
        "incident": options.incident,
        "ttl": options.ttl,
        "cnf": {"jkt": thumbprint(cnf.public_key())},
        "redeem_key": jwk(redeem.public_key()),
        "requested_at": now,
        "expires_at": now + min(options.wait, profile["approval_window"]),
        "drill": options.drill,
    }


def patiently(call, until):
    """Calls again while the daemon is away. Statements are idempotent by their digests, so nothing is done twice."""
    pause = 0.2
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE or time.time() + pause > until:
                raise
            say(f"the daemon is away ({error.details()}): asking again")
        time.sleep(pause)
        pause = min(pause * 2, 5)


def wait(access_pb2, request_pb2, stub, request_id):
    """Follows the request until it is issued or over. The stream begins with the request as it stands."""
    states = request_pb2.RequestState
    last = None
    for event in stub.WatchRequests(access_pb2.WatchRequestsRequest(request_ids=[request_id])):
        if event.WhichOneof("event") != "request":
            continue
        request = event.request
        name = states.Name(request.state).removeprefix("REQUEST_STATE_").lower()
        told = f"{name}: waits for {request.missing.in_words}" if request.missing.in_words else name
        if told != last:
            say(told)
            last = told
        if request.state == states.REQUEST_STATE_ISSUED:
            return
        if request.state not in (states.REQUEST_STATE_PENDING, states.REQUEST_STATE_AUTHORIZED):
            say(f"no JWT: {request.failure.message or name}")
            raise SystemExit(3)
    raise SystemExit("issue.py: the daemon ended the watch without a reason")


def redeem_jwt(access_pb2, stub, key, charter, digest, request_id, redeem):
    """The sealed JWT. It stays redeemable until its exp, so a lost answer costs nothing."""
    about = {"iss": charter["iss"], "charter": digest, "request_id": request_id, "nonce": b64(os.urandom(16))}
    statement = sign(key, "redeem", canonical(about), int(time.time()))
    answer = stub.Redeem(access_pb2.RedeemRequest(jws=statement, wait_ms=MAX_WAIT_MS))
    return open_jwe(answer.jwe, redeem)


def save_private(path, key):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def reason_of(error):
    """google.rpc.ErrorInfo's reason. Part of the API: act on it, not on the message."""
    try:
        from google.rpc import error_details_pb2
        from grpc_status import rpc_status
    except ImportError:
        return "install grpcio-status to see the reason"
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return "no reason given"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--server-cert", required=True, help="the daemon's certificate, PEM: the only one accepted")
    parser.add_argument("--cert", required=True, help="this tool's certificate, PEM")
    parser.add_argument("--key", required=True, help="this tool's enrolled P-256 key, PEM (PKCS#8)")
    parser.add_argument("--charter-digest", help="refuse any other charter; write --charter-digest=D, as D may begin with a hyphen")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--detail", required=True, action="append", help="one authorization_details object, JSON")
    parser.add_argument("--reason", required=True)
    parser.add_argument("--incident", required=True)
    parser.add_argument("--sub", help="the person the access is for; by default the tool itself")
    parser.add_argument("--ttl", type=int, default=900, help="seconds that the JWT lives, from minting (900)")
    parser.add_argument("--wait", type=int, default=3600, help="seconds to wait for approvals (3600)")
    parser.add_argument("--cnf-out", required=True, help="new file for the private key that the JWT is bound to")
    parser.add_argument("--drill", action="store_true")
    parser.add_argument("--proto", default=str(HERE.parents[2] / "proto"), help="folder of the .proto files")
    return parser.parse_args()


def run(options):
    sys.path.append(options.proto)
    request_pb2 = grpc.protos("breakglass/v1/request.proto")
    access_pb2, access = grpc.protos_and_services("breakglass/v1/access.proto")
    charter_pb2, charter_grpc = grpc.protos_and_services("breakglass/v1/charter.proto")

    read = lambda path: pathlib.Path(path).read_bytes()  # noqa: E731
    key = serialization.load_pem_private_key(read(options.key), None)
    credentials = grpc.ssl_channel_credentials(read(options.server_cert), read(options.key), read(options.cert))
    cnf, redeem = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    save_private(options.cnf_out, cnf)

    with grpc.secure_channel(options.server, credentials) as channel:
        charter_stub = charter_grpc.CharterServiceStub(channel)
        access_stub = access.AccessServiceStub(channel)
        charter, digest = newest_charter(charter_pb2, charter_stub, options.charter_digest)
        caller = charter_stub.GetDaemon(charter_pb2.GetDaemonRequest()).caller
        now = int(time.time())
        payload = canonical(grant(options, charter, digest, caller, key, cnf, redeem, now))
        filed = access_stub.FileRequest(access_pb2.FileRequestRequest(jws=sign(key, "request", payload, now))).request
        # The id is ours to compute: the daemon's word for it is not needed.
        request_id = b64(hashlib.sha256(payload).digest())
        if filed.request_id != request_id:
            raise SystemExit("issue.py: the daemon filed something else")
        say(f"request {request_id}")
        deadline = now + options.wait
        patiently(lambda: wait(access_pb2, request_pb2, access_stub, request_id), deadline)
        redeeming = lambda: redeem_jwt(access_pb2, access_stub, key, charter, digest, request_id, redeem)  # noqa: E731
        print(patiently(redeeming, deadline + options.ttl))


def main():
    try:
        run(arguments())
    except grpc.RpcError as error:
        say(f"issue.py: {error.details()} ({error.code().name}, {reason_of(error)})")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
