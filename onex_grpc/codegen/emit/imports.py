"""The imports of a generated module, computed from what its text uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.contract.proto_file import module_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STANDARD: Final = {
    "abstractmethod": "abc",
    "AsyncGenerator": "collections.abc",
    "AsyncIterator": "collections.abc",
    "Iterator": "collections.abc",
    "Sequence": "collections.abc",
    "Never": "typing",
    "TypeAlias": "typing",
}
_FROZEN: Final = ("onex_grpc.typed", "_onex")


class Imports:
    """The modules and names that a generated module needs.

    Every module has a private alias, so that no name of the user's can hide it: its own name, or
    its whole path where another module came first.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._modules: dict[str, str] = {}
        self._loaded: set[str] = set()
        self._used: set[str] = set()

    def standard(self, name: str) -> str:
        """A name of the standard library."""
        self._names.add(name)
        return name

    def stubs(self, file: str) -> str:
        """The alias of the module with a proto's messages."""
        self._used.add(file)
        return self._alias(module_of(file, "_pb2"))

    def load(self, file: str) -> None:
        """Imports the module with a proto's messages, whether or not the text names one."""
        self._loaded.add(file)

    def only_loaded(self) -> Sequence[str]:
        """The aliases of modules of which the text names nothing."""
        return [self._alias(module_of(file, "_pb2")) for file in sorted(self._loaded - self._used)]

    def generated(self, file: str) -> str:
        """The alias of the module with a proto's nodes."""
        return self._alias(module_of(file, "_onex"))

    def lines(self) -> Iterable[str]:
        """The import statements: the standard library's, an empty line, all others."""
        by_module: dict[str, list[str]] = {}
        for name in self._names:
            by_module.setdefault(_STANDARD[name], []).append(name)
        for module, names in sorted(by_module.items()):
            yield f"from {module} import {', '.join(sorted(names))}"
        if by_module:
            yield ""
        for module, alias in sorted([*self._modules.items(), _FROZEN]):
            package, _, name = module.rpartition(".")
            start = f"from {package} import" if package else "import"
            yield f"{start} {name} as {alias}"

    def _alias(self, module: str) -> str:
        if module not in self._modules:
            # Two underscores at the start would mean another name within a class.
            alias = f"_{module.rpartition('.')[2].lstrip('_')}"
            if self._is_taken(alias):
                alias = f"_{module.replace('.', '_').lstrip('_')}"
            while self._is_taken(alias):
                alias += "_"
            self._modules[module] = alias
        return self._modules[module]

    def _is_taken(self, alias: str) -> bool:
        return alias == _FROZEN[1] or alias in self._modules.values()
