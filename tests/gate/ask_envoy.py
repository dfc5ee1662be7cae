"""A foreign client of the gate's gRPC: grpcio with the stubs that the gRPC authors made of Envoy's own API.

Arguments: the address, and a file with one JSON object: method, path, host, scheme, headers, certificate. Prints the answer.
"""
import json
import sys

import grpc
from envoy.service.auth.v3 import attribute_context_pb2 as context
from envoy.service.auth.v3 import external_auth_pb2 as auth
from envoy.service.auth.v3 import external_auth_pb2_grpc as service

asked = json.load(open(sys.argv[2]))
http = context.AttributeContext.HttpRequest(
    id="1", method=asked["method"], path=asked["path"], host=asked["host"], scheme=asked["scheme"],
    protocol="HTTP/2", size=0, headers=asked["headers"], body="", query="", fragment="")
peer = context.AttributeContext.Peer(principal="spiffe://somebody", certificate=asked["certificate"])
peer.address.socket_address.address = "192.0.2.7"
request = auth.CheckRequest(attributes=context.AttributeContext(
    source=peer, request=context.AttributeContext.Request(http=http), context_extensions={"route": "orders"}))

with grpc.insecure_channel(sys.argv[1]) as channel:
    answer = service.AuthorizationStub(channel).Check(request, timeout=10)

kind = answer.WhichOneof("http_response")
told = getattr(answer, kind)
headers = {option.header.key: option.header.value for option in told.headers}
print(json.dumps({
    "code": answer.status.code,
    "kind": kind,
    "status": told.status.code if kind == "denied_response" else 200,
    "headers": headers,
    "appended": any(option.append.value for option in told.headers),
    "body": told.body if kind == "denied_response" else "",
}))
