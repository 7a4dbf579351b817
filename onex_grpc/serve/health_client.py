"""Asks a process for the health of its services."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import grpc
from grpc_health.v1 import health_pb2

from onex_grpc.errors import NodeUnavailableError
from onex_grpc.rpc.tls import CertificateFiles, channel_credentials
from onex_grpc.serve.health import SERVICE
from onex_grpc.serve.health_messages import HealthListResponse, ListRequest, ListResponse

if TYPE_CHECKING:
    from onex_grpc.rpc.tls import ClientTls


async def list_health(address: str, tls: ClientTls | None, timeout: float) -> dict[str, str]:
    """SERVING, NOT_SERVING or UNKNOWN by service; "" is the process.

    Raises:
        NodeUnavailableError: when it does not answer within `timeout` seconds.
    """
    async with _channel(address, tls) as channel:
        method = channel.unary_unary(
            f"/{SERVICE}/List",
            request_serializer=ListRequest.SerializeToString,
            response_deserializer=ListResponse.FromString,
        )
        try:
            answer = await method(ListRequest(), timeout=timeout)
        except grpc.aio.AioRpcError as fault:
            raise NodeUnavailableError(
                f"{address} does not tell its health: {fault.code().name} {fault.details()}"
            ) from None
    statuses = cast("HealthListResponse", answer).statuses
    names = health_pb2.HealthCheckResponse.ServingStatus
    return {service: names.Name(told.status) for service, told in sorted(statuses.items())}


def _channel(address: str, tls: ClientTls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(address)
    options = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else None
    credentials = channel_credentials(CertificateFiles(tls.certificate, tls.key, tls.ca))
    return grpc.aio.secure_channel(address, credentials, options)
