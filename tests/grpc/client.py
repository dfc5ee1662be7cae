"""A foreign client: grpcio with the project's .proto files. Prints what it saw as one JSON object per check.

usage: client.py ADDRESS SERVER_CERT.pem CLIENT_CERT.pem CLIENT_KEY.pem PROTO_DIR
"""

import base64
import datetime
import hashlib
import json
import socket
import ssl
import sys

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

address, server_cert, client_cert, client_key, proto = sys.argv[1:]
sys.path.append(proto)
access_pb2, access = grpc.protos_and_services("breakglass/v1/access.proto")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def channel(cert=None, key=None, roots=None):
    credentials = grpc.ssl_channel_credentials(roots or read(server_cert), key, cert)
    return grpc.secure_channel(address, credentials)


def report(check, **facts):
    print(json.dumps({"check": check, **facts}), flush=True)


def failure(check, call):
    try:
        call()
        report(check, code="OK")
    except grpc.RpcError as error:
        reason = None
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                reason = f"{info.domain}/{info.reason}"
        report(check, code=error.code().name, reason=reason)


def certificate(key, ca):
    """What `openssl req -x509` makes: a self-signed certificate, CA:TRUE by default."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "python")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=2))
    # Expired: terms are the charter's matter, not the certificate's.
    builder = builder.not_valid_after(now - datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    pem = builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, private


def spki(public_key):
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def identities():
    own = x509.load_pem_x509_certificate(read(client_cert)).public_key()
    made = {"enrolled": (read(client_cert), read(client_key), spki(own))}
    for name, key in (("p256", ec.generate_private_key(ec.SECP256R1())), ("ed25519", ed25519.Ed25519PrivateKey.generate())):
        made[name] = (*certificate(key, ca=True), spki(key.public_key()))
    for name, (cert, key, pin) in made.items():
        with channel(cert, key) as secure:
            answer = access.AccessServiceStub(secure).FileRequest(access_pb2.FileRequestRequest(jws=b"x"))
            report(f"identity.{name}", same=answer.request.request_id == pin)


def versions():
    host, port = address.rsplit(":", 1)
    for name, version in (("tls1.2", ssl.TLSVersion.TLSv1_2), ("tls1.3", ssl.TLSVersion.TLSv1_3)):
        context = ssl.create_default_context(cafile=server_cert)
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2"])
        try:
            with socket.create_connection((host, port)) as tcp, context.wrap_socket(tcp, server_hostname=host):
                report(name, accepted=True)
        except ssl.SSLError:
            report(name, accepted=False)


def failures():
    with channel(read(client_cert), read(client_key)) as secure:
        stub = access.AccessServiceStub(secure)
        failure("typed", lambda: stub.ListRequests(access_pb2.ListRequestsRequest()))
        large = access_pb2.FileRequestRequest(jws=bytes(300_000))
        failure("oversized", lambda: stub.FileRequest(large))
        raw = secure.unary_unary("/breakglass.v1.AccessService/FileRequest")
        failure("malformed", lambda: raw(b"\xff\xff\xff"))
        for method in ("/breakglass.v1.AccessService/Mint", "/breakglass.v2.AccessService/Redeem"):
            unknown = secure.unary_unary(method)
            failure("unknown", lambda: unknown(b""))
        failure("compressed", lambda: stub.FileRequest(large, compression=grpc.Compression.Gzip))
        failure("alive", lambda: stub.FileRequest(access_pb2.FileRequestRequest(jws=b"x")))
    with channel() as secure:
        failure("stranger", lambda: access.AccessServiceStub(secure).FileRequest(access_pb2.FileRequestRequest()))
    other, _ = certificate(ec.generate_private_key(ec.SECP256R1()), ca=False)
    with channel(roots=other) as secure:
        failure("wrong_pin", lambda: access.AccessServiceStub(secure).FileRequest(access_pb2.FileRequestRequest()))


def discovery():
    with channel() as secure:
        health = health_pb2_grpc.HealthStub(secure)
        for service in ("", "breakglass.v1.AccessService"):
            status = health.Check(health_pb2.HealthCheckRequest(service=service)).status
            report("health", service=service, status=health_pb2.HealthCheckResponse.ServingStatus.Name(status))
        database = ProtoReflectionDescriptorDatabase(secure)
        report("reflection", services=sorted(database.get_services()))
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName("breakglass.v1.AccessService").FindMethodByName("ListRequests")
        request = message_factory.GetMessageClass(method.input_type)
        call = secure.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}", request_serializer=request.SerializeToString
        )
        failure("reflected", lambda: call(request(page_size=1)))


identities()
versions()
failures()
discovery()
