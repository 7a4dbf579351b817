"""The sample mesh as a whole: a state folder made ready, and its servers running over it."""

from __future__ import annotations

import fcntl
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onex_grpc.errors import ConfigurationError, StoreInUseError
from servers.layout import settings_text
from servers.supervisor import MeshLayout, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

SCHEMA = Path(__file__).parent / "orders.sql"


@contextmanager
def _owned(state: Path) -> Iterator[None]:
    # The settings name this mesh's ports, so a second mesh must not write them over.
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "mesh.lock").open("w")
    except OSError as fault:
        raise ConfigurationError(
            f"state folder {state}: {fault.strerror}; name a folder that you may write to"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUseError(
                f"state folder {state} is in use by another mesh; stop it or name another folder"
            ) from None
        yield


@asynccontextmanager
async def running_mesh(layout: MeshLayout, say: Callable[[str], None]) -> AsyncIterator[Supervisor]:
    """The servers, up while the block runs.

    Raises:
        ConfigurationError: when the state folder cannot be written or a server does not start.
        StoreInUseError: when another mesh runs over the same state folder.
    """
    with _owned(layout.state):
        layout.config.write_text(settings_text(layout, str(SCHEMA)), encoding="utf-8")
        supervisor = Supervisor(layout, say)
        try:
            await supervisor.start()
            yield supervisor
        finally:
            await supervisor.stop()
