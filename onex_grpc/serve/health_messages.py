"""The messages of grpc.health.v1, also of its List method where the installed package lacks them.

The lacking ones live in a descriptor pool of their own, so that they never clash with those of
another package.
Source: github.com/grpc/grpc-proto, grpc/health/v1/health.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

_FILE: Final = "onex/private/health_list.proto"
_MAP_ENTRY: Final = "StatusesEntry"


class HealthListResponse(Protocol):
    """The status of each service by its name."""

    statuses: dict[str, health_pb2.HealthCheckResponse]


def _extended_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = _FILE
    del file.service[:]
    file.message_type.add(name="HealthListRequest")
    response = file.message_type.add(name="HealthListResponse")
    entry = response.nested_type.add(name=_MAP_ENTRY)
    entry.options.map_entry = True
    check = ".grpc.health.v1.HealthCheckResponse"
    kinds = descriptor_pb2.FieldDescriptorProto
    single = kinds.LABEL_OPTIONAL
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=single)
    entry.field.add(name="value", number=2, type=kinds.TYPE_MESSAGE, type_name=check, label=single)
    response.field.add(
        name="statuses",
        number=1,
        type=kinds.TYPE_MESSAGE,
        type_name=f".grpc.health.v1.HealthListResponse.{_MAP_ENTRY}",
        label=kinds.LABEL_REPEATED,
    )
    return file


def _list_messages() -> tuple[type[Message], type[Message]]:
    theirs = vars(health_pb2)
    if "HealthListResponse" in theirs:
        return theirs["HealthListRequest"], theirs["HealthListResponse"]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_extended_file())
    request, response = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.{name}"))
        for name in ("HealthListRequest", "HealthListResponse")
    )
    return request, response


ListRequest, ListResponse = _list_messages()


def list_response(statuses: dict[str, int]) -> Message:
    """The answer of List for these statuses."""
    response = ListResponse()
    for service, status in statuses.items():
        cast("HealthListResponse", response).statuses[service].status = status
    return response
