"""An executor over real targets: a SQLite file, a folder, a Maildir."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.effects.making import executing, files_settings, maildir_settings, sqlite_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onex_grpc.effect import EffectExecutor, TargetSettings


@pytest.fixture
async def executor(tmp_path: Path) -> AsyncIterator[EffectExecutor]:
    """An executor with a database `orders_db`, a folder `files` and a Maildir `mail`."""
    targets: dict[str, TargetSettings] = {
        "orders_db": sqlite_settings(tmp_path),
        "files": files_settings(tmp_path),
        "mail": maildir_settings(tmp_path),
    }
    async with executing(tmp_path, targets) as running:
        yield running
