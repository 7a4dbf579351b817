"""Addresses of nodes: one endpoint, or those of several processes among which calls are spread."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Final, NamedTuple

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from onex_grpc.rpc.limits import Option

_LOOPBACK: Final = "127.0.0.1"
# Each repeat of these has the ids of the first call, by which it joins it or gets what it came to.
_REPEATABLE: Final = ("ExecuteOrchestration", "ExecuteAction")
_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        # A process that starts, or drains, says so: it gets no calls meanwhile.
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [
            {
                "name": [
                    {"service": "onex.v1.OrchestratorNodeService", "method": method}
                    for method in _REPEATABLE
                ],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


class Endpoints(NamedTuple):
    """Where a channel leads."""

    target: str
    """What gRPC connects to."""
    options: list[Option]
    """How its calls are spread."""


def endpoints_of(address: str) -> Endpoints:
    """The endpoints of `host:port`, or of several with commas between them.

    Calls go to those of several endpoints that serve, in turn. A single name may stand for several
    processes, too: all addresses that it resolves to.

    Raises:
        ConfigurationError: when one of several is a name, or they are not all IPv4 or all IPv6.
    """
    if "," not in address:
        return Endpoints(address, [] if _is_single(address) else [_spread()])
    parsed = [_parse(endpoint.strip(), address) for endpoint in address.split(",")]
    versions = {ip.version for ip, _ in parsed}
    if len(versions) > 1:
        raise ConfigurationError(
            f"address {address!r}: several endpoints are all IPv4 or all IPv6; name one kind"
        )
    version = versions.pop()
    form = "{}:{}" if version == 4 else "[{}]:{}"
    listed = ",".join(form.format(*endpoint) for endpoint in parsed)
    return Endpoints(f"ipv{version}:{listed}", [_spread()])


def _spread() -> Option:
    return "grpc.service_config", _SERVICE_CONFIG


def _is_single(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return not host or host == "localhost" or "/" in address or _ip(host) is not None


def _parse(
    endpoint: str, address: str
) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    ip = _ip(_LOOPBACK if host == "localhost" else host)
    if ip is None or not port.isdecimal():
        raise ConfigurationError(
            f"address {address!r}: {endpoint!r} is not IP:port; name several endpoints by their IP "
            "addresses, or all of them by one name that resolves to them"
        )
    return ip, int(port)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
