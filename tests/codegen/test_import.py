"""Generated modules run: on the runtime as it is, and with the contracts that it reads itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = """\
import importlib, json, sys
from google.protobuf import descriptor_pool
from onex_grpc.contract.fingerprint import fingerprint_of
from onex_grpc.typed import Contract

found = {}
for name in sys.argv[1:]:
    for value in vars(importlib.import_module(name)).values():
        if isinstance(value, Contract):
            service = descriptor_pool.Default().FindServiceByName(value.service)
            found[value.service] = [value.fingerprint, fingerprint_of(service)]
print(json.dumps(found))
"""


def test_contracts_are_those_of_the_loaded_descriptors(
    onex: Callable[..., subprocess.CompletedProcess[str]], protos: Path, tmp_path: Path
) -> None:
    assert onex(tmp_path, "generate", str(protos), "--out", "gen").returncode == 0
    out = tmp_path / "gen"
    files = sorted(path.relative_to(out) for path in out.rglob("*_onex.py"))
    modules = [".".join(path.with_suffix("").parts) for path in files]

    path = os.pathsep.join([str(out), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *modules],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert run.stderr == ""
    found = json.loads(run.stdout)
    assert len(found) == 18
    assert {name: stated for name, (stated, _) in found.items()} == {
        name: read for name, (_, read) in found.items()
    }
