"""The typed container from which nodes get the services that they use."""

from __future__ import annotations

from typing import TypeVar, cast

from onex_grpc.errors import ConfigurationError

T = TypeVar("T")


class ModelONEXContainer:
    """Services by the Protocol class (or class) that they implement, so that a look-up is typed."""

    def __init__(self) -> None:
        self._services: dict[type, object] = {}

    def register(self, protocol: type[T], service: T) -> None:
        """Offers a service under its Protocol; a later one replaces it."""
        self._services[protocol] = service

    def get_service(self, protocol: type[T]) -> T:
        """The service registered for a Protocol.

        Raises:
            ConfigurationError: when nothing was registered for it.
        """
        try:
            return cast("T", self._services[protocol])
        except KeyError:
            raise ConfigurationError(
                f"the container has no {protocol.__name__}; register one before the node is built"
            ) from None

    def has_service(self, protocol: type) -> bool:
        """Whether a service was registered for a Protocol."""
        return protocol in self._services
