"""Where protos are: those that are given, and the folders that imports are looked for in."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onex.v1 import options_pb2
from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_PACKAGE: Final = re.compile(r"^\s*package\s+([\w.]+)\s*;", re.MULTILINE)


def find_protos(given: Sequence[Path]) -> list[Path]:
    """The protos among the given paths, and all below the given folders; absolute, each once.

    Hidden folders and virtual environments are left out.

    Raises:
        ConfigurationError: a path that is not there or no proto, a folder without protos.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            below = sorted(_below(_absolute(path)))
            if not below:
                raise ConfigurationError(f"there is no .proto file in the folder {path} or below")
            found.update(dict.fromkeys(below))
        elif not path.is_file():
            raise ConfigurationError(f"there is no file {path}; give .proto files or folders")
        elif path.suffix != ".proto":
            raise ConfigurationError(f"{path} does not end in .proto; give .proto files or folders")
        else:
            found[_absolute(path)] = None
    return list(found)


def roots_of(protos: Sequence[Path], given: Sequence[Path]) -> list[Path]:
    """The folders which the protos' own paths, and those of their imports, start from.

    Args:
        protos: absolute paths.
        given: what the user says; where it is empty, the folder above the one that a proto's
            package names, or the current one.

    Raises:
        ConfigurationError: a given one is no folder or not for protoc, or a proto is in none of
            them.
    """
    if not given:
        # Deeper ones first: protoc names a file by the first folder that it is below.
        roots = dict.fromkeys(map(_root_of, protos))
        return _usable(sorted(roots, key=lambda root: len(root.parts), reverse=True))
    for path in given:
        if not path.is_dir():
            raise ConfigurationError(f"-I {path} is no folder; give one that imports start from")
    roots_given = [_absolute(path) for path in given]
    for proto in protos:
        if not any(proto.is_relative_to(root) for root in roots_given):
            raise ConfigurationError(
                f"{proto} is in none of the folders given by -I; add the one that its imports"
                " start from"
            )
    return _usable(roots_given)


def _usable(roots: list[Path]) -> list[Path]:
    for root in roots:
        if os.pathsep in str(root):
            raise ConfigurationError(
                f"{root} has {os.pathsep!r} in it, which for protoc parts two folders; rename it,"
                " or reach it by a link"
            )
    return roots


def without_sdk(protos: Sequence[Path], roots: Sequence[Path]) -> list[Path]:
    """The protos but copies of onex-grpc's own, whose modules would stand in for the installed.

    Raises:
        ConfigurationError: there are no others.
    """
    sdk = sdk_root()
    own = [proto for proto in protos if not _is_copy(proto, roots, sdk)]
    if not own:
        raise ConfigurationError(
            f"{protos[0]} is a proto of onex-grpc, whose modules are installed with it; give"
            " protos of your own"
        )
    return own


def _is_copy(proto: Path, roots: Sequence[Path], sdk: Path) -> bool:
    root = next(root for root in roots if proto.is_relative_to(root))
    name = proto.relative_to(root)
    return name.parts[:1] == ("onex",) and (sdk / name).is_file()


def sdk_root() -> Path:
    """The folder that holds onex/v1/options.proto.

    Raises:
        ConfigurationError: the protos are not where the installation puts them.
    """
    stubs = Path(options_pb2.__file__).parents[2]
    # In a wheel the protos are beside the stubs; in a checkout a folder of their own is.
    for root in (stubs, stubs.parent / "proto"):
        if (root / options_pb2.DESCRIPTOR.name).is_file():
            return root
    raise ConfigurationError(
        f"{options_pb2.DESCRIPTOR.name} is missing beside {stubs}; install onex-grpc again"
    )


def _absolute(path: Path) -> Path:
    # Links stay: protoc compares paths as they are written.
    return Path(os.path.abspath(path))


def _below(folder: Path) -> Iterator[Path]:
    for current, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(current, name) for name in files if name.endswith(".proto"))


def _root_of(proto: Path) -> Path:
    try:
        text = _COMMENT.sub("", proto.read_text(encoding="utf-8", errors="replace"))
    except OSError as fault:
        raise ConfigurationError(f"{proto} cannot be read: {fault.strerror}") from None
    package = _PACKAGE.search(text)
    parts = tuple(package[1].split(".")) if package else ()
    folders = proto.parent.parts
    if parts and folders[-len(parts) :] == parts:
        return Path(*folders[: -len(parts)])
    here = Path.cwd()
    return here if proto.is_relative_to(here) else proto.parent
