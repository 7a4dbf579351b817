"""How long leases last."""

from __future__ import annotations

import msgspec

from onex_grpc.errors import ConfigurationError


class LeaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Durations of leases, in seconds.

    Attributes:
        ttl: how long a lease lasts from each renewal on where its holder asks for nothing else.
        floor: the shortest ttl that is granted; ten times the store's slowest commit, so that a
            stall of the disk costs nobody a lease.
        leeway: how long after its expiry a node still accepts a token, for clocks that differ.

    Raises:
        ConfigurationError: when ttl is below floor, or one of them is not positive.
    """

    ttl: float = 30.0
    floor: float = 5.0
    leeway: float = 5.0

    def __post_init__(self) -> None:
        if self.floor <= 0 or self.leeway < 0:
            raise ConfigurationError("lease: floor must be above 0 s and leeway not below 0 s")
        if self.ttl < self.floor:
            raise ConfigurationError(
                f"lease.ttl is {self.ttl} s; give at least floor ({self.floor} s)"
            )
