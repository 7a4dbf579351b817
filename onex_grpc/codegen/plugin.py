"""`protoc-gen-onex`: protoc's request on stdin, its answer on stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

# Before any request is parsed: options that are unknown by then stay unknown bytes, and no service
# would look like a node.
from onex.v1 import options_pb2  # noqa: F401
from onex_grpc.codegen.check import check
from onex_grpc.codegen.emit import emit_module, module_path
from onex_grpc.codegen.fault import Fault
from onex_grpc.codegen.read import read
from onex_grpc.codegen.schema import Place
from onex_grpc.contract.fingerprint import Fingerprints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.codegen.schema import Schema

_FEATURES: Final = (
    plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    | plugin_pb2.CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS
)


def main() -> None:
    """Answers one request of protoc's; mistakes in protos stand in the answer."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(request).SerializeToString(deterministic=True))


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """The modules for a request, or its mistakes, one a line."""
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=_FEATURES,
        minimum_edition=descriptor_pb2.EDITION_PROTO2,
        maximum_edition=descriptor_pb2.EDITION_2023,
    )
    schema = read(request)
    faults = _find_faults(schema, request.parameter)
    if faults:
        response.error = "\n".join(map(str, faults))
        return response
    fingerprints = Fingerprints(request.proto_file)
    for file in schema.to_generate:
        text = emit_module(schema, file, fingerprints)
        if text:
            response.file.add(name=module_path(file), content=text)
    return response


def _find_faults(schema: Schema, parameter: str) -> Sequence[Fault]:
    if parameter:
        place = Place(schema.to_generate[0] if schema.to_generate else "protoc-gen-onex")
        return [Fault(place, f"protoc-gen-onex has no option {parameter}", "leave it out")]
    return check(schema)
