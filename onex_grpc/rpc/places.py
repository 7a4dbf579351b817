"""Where the targets are that no setting names: in the registry, else at the default ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.errors import NodeUnavailableError, TargetNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onex_grpc.errors import OnexError
    from onex_grpc.rpc.directory import Directory


class Places:
    """Finds targets in a directory.

    Args:
        directory: who is where.
        defaults: addresses by kind, for nodes that nobody ever registered.
        look: how the directory is asked where a target is.
    """

    def __init__(
        self, directory: Directory, defaults: Mapping[str, str], look: Callable[[str], str]
    ) -> None:
        self._directory = directory
        self._defaults = defaults
        self._look = look

    @property
    def source(self) -> str:
        """The registry, for messages."""
        return self._directory.source

    def of(self, target: str) -> str:
        """Where a target is now; empty where it is nowhere."""
        try:
            found = self._look(target)
        except TargetNotFoundError:
            return ""
        return found or self._default(target)

    def require(self, target: str) -> None:
        """Refuses a target that is nowhere now.

        Raises:
            TargetNotFoundError: for one that was never there, and for a bare kind that has several
                nodes.
            NodeUnavailableError: for one that was, and while nobody can be asked.
        """
        if not (self._look(target) or self._default(target)):
            raise self._missing(target)

    async def find(self, target: str, *, wait: bool) -> str:
        """Where a target is, as soon as there is a picture; with `wait`, as soon as it is there.

        Raises:
            TargetNotFoundError, NodeUnavailableError: as `require`.
        """
        directory = self._directory
        await directory.wait_first()
        while not (found := self._look(target) or self._default(target)):
            if not wait:
                raise self._missing(target)
            await directory.wait_change()
        return found

    def _missing(self, target: str) -> OnexError:
        directory, context = self._directory, {"target": target}
        if not directory.told:
            return NodeUnavailableError(
                f"nobody says where {target!r} is: {directory.source} cannot be reached",
                context=context,
            )
        known = ", ".join(directory.names()) or "nobody"
        if directory.remembers(target):
            return NodeUnavailableError(
                f"{target!r} has left {directory.source}; there are: {known}", context=context
            )
        return TargetNotFoundError(
            f"target {target!r} is not a node of this mesh: it never registered at "
            f"{directory.source}; there are: {known}",
            context=context,
        )

    def _default(self, target: str) -> str:
        default = self._defaults.get(target.partition("/")[0], "")
        # Who was there and left is not at the port of whoever happens to have the default.
        if self._directory.remembers(target) or self._directory.is_taken(default):
            return ""
        return default
