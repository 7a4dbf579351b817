"""What is known of a queue without looking: on which routes an intent may be ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.queue_rules import wanted_routes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Readiness:
    """The routes that may have a ready intent, and those that have none.

    A route that was not mentioned is like the `others`: unknown at first, empty once somebody who
    takes everything has found nothing more.
    """

    __slots__ = ("_named", "_others")

    def __init__(self) -> None:
        """Nothing is known: any route may have one."""
        self._others = True
        self._named: dict[str, bool] = {}

    def copy(self) -> Readiness:
        """The same, to be changed apart."""
        same = Readiness()
        same._others, same._named = self._others, dict(self._named)
        return same

    def emitted(self, route: str) -> None:
        """Notes that an intent of a route became ready."""
        self._named[route] = True

    def unsure(self) -> None:
        """Forgets what is known: whoever takes looks again."""
        self._others = True
        self._named.clear()

    def drained(self, accepts: Collection[str]) -> None:
        """Notes that who takes these routes, or everything, has found nothing more."""
        if not accepts:
            self.found(())
            return
        self._named.update(dict.fromkeys(wanted_routes(accepts), False))

    def found(self, routes: Iterable[str]) -> None:
        """Notes that these are the routes with a ready intent, and no others."""
        self._others = False
        self._named = dict.fromkeys(routes, True)

    def may_have(self, accepts: Collection[str]) -> bool:
        """Whether there may be an intent for who takes these routes, or everything."""
        if not accepts:
            return self._others or any(self._named.values())
        return any(self._named.get(route, self._others) for route in wanted_routes(accepts))

    def candidates(self, accepts: Collection[str]) -> list[str] | None:
        """The routes among which who takes these, or everything, has to look; None where nothing
        is known of one.
        """
        named = self._named
        if not accepts:
            return None if self._others else [route for route, ready in named.items() if ready]
        routes = wanted_routes(accepts)
        if self._others and not named.keys() >= set(routes):
            return None
        return [route for route in routes if named.get(route, False)]
