"""Both sides as folders: a copy of the working tree, and the files of a commit."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.children import Child

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack

_ROOT: Final = Path(__file__).resolve().parents[2]
_MEASURED: Final = ("onex_grpc", "generated")
# The processes of the benchmarks import these, too.
_DRIVERS: Final = ("bench", "servers")
_SITE: Final = "sitecustomize.py"
_WHERE: Final = (
    "import bench, onex_grpc, onex.v1, orders.v1 as orders; "
    "print(*(place for module in (bench, onex_grpc, onex.v1, orders)"
    " for place in module.__spec__.submodule_search_locations))"
)
# The installed package is the working tree, by two entries of sys.path. A module that an older
# commit has not would be taken from there.
_ISOLATE: Final = f"""\
import sys
sys.path[:] = [path for path in sys.path if path not in {(str(_ROOT), str(_ROOT / "generated"))}]
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One version of the SDK, ready to run.

    Attributes:
        name: `new` or `old`.
        root: folder of its packages.
        digest: names its content.
    """

    name: str
    root: Path
    digest: str

    def start(
        self,
        stack: ExitStack,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a module on this side; raises ChildEndedError where it does not start."""
        variables = {**self._paths(), **(environment or {})}
        return Child(stack, arguments, environment=variables, folder=self.root)

    def check(self) -> None:
        """Make sure that this side's processes import this side's code, not the installed one.

        Raises:
            SystemExit: they do not.
        """
        asked = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _WHERE],
            cwd=self.root,
            env=self._paths(),
            capture_output=True,
            text=True,
            check=False,
        )
        found = [Path(each) for each in asked.stdout.split()]
        # The wheel's protos lie in a folder that is part of the namespace `onex`, too.
        strange = [p for p in found if any(p.glob("*.py")) and not p.is_relative_to(self.root)]
        if strange or not found:
            raise SystemExit(f"error: side {self.name} imports {strange} {asked.stderr}")

    def _paths(self) -> Mapping[str, str]:
        return {"PYTHONPATH": f"{self.root}:{self.root / 'generated'}"}


def copy_tree(folder: Path) -> Side:
    """Return the working tree as it now is; what is edited later is not seen."""
    for name in (*_MEASURED, *_DRIVERS):
        _copy(_ROOT / name, folder / name)
    (folder / _SITE).write_text(_ISOLATE)
    return Side("new", folder, _digest(folder))


def take_commit(commit: str, folder: Path) -> Sequence[Side]:
    """Return the sides of a commit: with the drivers of the working tree, then with its own.

    The second is for drivers that use something which the older SDK has not; what the commit has no
    file for is the working tree's there, too.

    Raises:
        SystemExit: there is no such commit.
    """
    name = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").decode().strip()
    if not name:
        raise SystemExit(f"error: --against {commit}: no such commit; `git log` lists them")
    archive = io.BytesIO(_git("archive", name, *_MEASURED, *_DRIVERS))
    shared, own = folder / "shared-drivers", folder / "own-drivers"
    with tarfile.open(fileobj=archive) as files:
        files.extractall(own, filter="data")
    digest = _digest(own)
    for package in _MEASURED:
        _copy(own / package, shared / package)
    for package in _DRIVERS:
        _copy(_ROOT / package, shared / package)
        _add(_ROOT / package, own / package)
    for root in (shared, own):
        (root / _SITE).write_text(_ISOLATE)
    return Side("old", shared, digest), Side("old", own, digest)


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _add(source: Path, target: Path) -> None:
    for file in _files(source):
        added = target / file.relative_to(source)
        if not added.exists():
            added.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, added)


def _digest(folder: Path) -> str:
    """Return a name for what is measured: drivers may change between runs, the SDK may not."""
    digest = hashlib.sha256()
    for package in _MEASURED:
        for file in _files(folder / package):
            digest.update(f"{file.relative_to(folder)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
