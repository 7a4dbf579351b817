"""All targets of an effect node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from onex_grpc.contract.route import custom_route, target_route
from onex_grpc.effect.custom_target import CustomOperations, CustomResource
from onex_grpc.effect.event_target import EventTopic
from onex_grpc.effect.files_target import FileFolder
from onex_grpc.effect.maildir_target import Maildir
from onex_grpc.effect.settings import (
    CustomTarget,
    EventLogTarget,
    FilesTarget,
    MaildirTarget,
    SqliteTarget,
    TargetSettings,
)
from onex_grpc.effect.sqlite_target import SqliteDatabase
from onex_grpc.errors import ConfigurationError, OperationRefusedError, TargetNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onex_grpc.effect.operation import EffectRequest
    from onex_grpc.effect.target import Target
    from onex_grpc.rpc.client import Mesh


class EffectTargets:
    """The targets by name.

    Args:
        settings: what each target is.
        mesh: by which the event log is reached.
        operations: the node's own.

    Raises:
        ConfigurationError: for settings that contradict each other.
    """

    def __init__(
        self, settings: Mapping[str, TargetSettings], mesh: Mesh, operations: CustomOperations
    ) -> None:
        _refuse_shared_databases(settings)
        self._targets = {
            name: _target(name, target, mesh, operations) for name, target in settings.items()
        }
        self._opened: list[Target] = []

    @property
    def names(self) -> list[str]:
        """The names of the targets, sorted."""
        return sorted(self._targets)

    def get(self, name: str) -> Target:
        """The target of a name.

        Raises:
            TargetNotFoundError: for an unknown name; names the known ones.
        """
        target = self._targets.get(name)
        if target is None:
            known = ", ".join(self.names) or "none"
            raise TargetNotFoundError(
                f"this node has no target {name!r}; its settings have {known}",
                context={"target": name},
            )
        return target

    def routes(self, operations: Sequence[str]) -> list[str]:
        """The routes of the intents that can be executed at the targets.

        Args:
            operations: the messages of the node's own operations.
        """
        routes: list[str] = []
        for name, target in sorted(self._targets.items()):
            if isinstance(target, CustomResource):
                routes += [custom_route(message, name) for message in operations]
            else:
                routes.append(target_route(name))
        return routes

    def options(self, request: EffectRequest) -> Mapping[str, str]:
        """The options of a request's target, which must be one for operations of the user's own.

        Raises:
            TargetNotFoundError: for an unknown name; names the known ones.
            OperationRefusedError: for a target of another kind.
        """
        target = self.get(request.target)
        if not isinstance(target, CustomResource):
            raise OperationRefusedError(
                f"target {request.target!r} carries out no operations of the node's own",
                context={"target": request.target},
            )
        return target.options

    async def open(self) -> None:
        """Makes all targets ready; raises ConfigurationError for one that cannot be used."""
        for target in self._targets.values():
            await target.open()
            self._opened.append(target)

    async def close(self) -> None:
        """Finishes what was begun and lets go of all targets."""
        while self._opened:
            await self._opened.pop().close()


def _target(
    name: str, settings: TargetSettings, mesh: Mesh, operations: CustomOperations
) -> Target:
    match settings:
        case SqliteTarget():
            return SqliteDatabase(name, settings)
        case FilesTarget():
            return FileFolder(name, settings)
        case MaildirTarget():
            return Maildir(name, settings)
        case EventLogTarget():
            return EventTopic(settings, mesh)
        case CustomTarget():
            return CustomResource(settings, operations)
        case _:
            assert_never(settings)


def _refuse_shared_databases(settings: Mapping[str, TargetSettings]) -> None:
    """Two targets over one file would share its table of idempotency keys."""
    seen: dict[Path, str] = {}
    for name, target in settings.items():
        if isinstance(target, SqliteTarget):
            path = Path(target.path).resolve()
            if path in seen:
                raise ConfigurationError(
                    f"targets {seen[path]!r} and {name!r} have the same path {path}; "
                    "make one target with the tables of both"
                )
            seen[path] = name
