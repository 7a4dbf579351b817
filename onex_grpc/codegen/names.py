"""What things of a proto are called in generated Python, and which of these names are taken."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_SUFFIX: Final = "Service"
_ACRONYM_END: Final = re.compile(r"([A-Z]+)([A-Z][a-z])")
_WORD_END: Final = re.compile(r"([a-z0-9])([A-Z])")
_VERSION: Final = re.compile(r"v[0-9]+((alpha|beta|test)[0-9]*)?|v[0-9]+p[0-9]+(alpha|beta)[0-9]*")

_CLASS_ENDINGS: Final[Mapping[int, Sequence[str]]] = {
    common_pb2.NODE_TYPE_EFFECT: ("Effect", "Client", "Intents"),
    common_pb2.NODE_TYPE_COMPUTE: ("Compute", "Client"),
    common_pb2.NODE_TYPE_REDUCER: ("Reducer", "Client", "Intent"),
    common_pb2.NODE_TYPE_ORCHESTRATOR: ("Orchestrator", "Client", "Mesh"),
}


def snake_case(name: str) -> str:
    """The Python method of an rpc: place_order for PlaceOrder, get_url for GetURL."""
    return _WORD_END.sub(r"\1_\2", _ACRONYM_END.sub(r"\1_\2", name)).lower()


def base_name(service: str) -> str:
    """A service's simple name without its suffix: Order for shop.v1.OrderService."""
    return service.rpartition(".")[2].removesuffix(_SUFFIX)


def node_name_of(service: str) -> str:
    """The node's name where the options give none: quote-book for shop.v1.QuoteBookService."""
    return snake_case(base_name(service)).replace("_", "-")


def constant_name(base: str) -> str:
    """The constant of a contract: QUOTE_BOOK for QuoteBook."""
    return snake_case(base).upper()


def rpc_constant(base: str, rpc: str) -> str:
    """The constant of an rpc: _ORDER_PLACE_ORDER for PlaceOrder of Order."""
    return f"_{constant_name(base)}_{constant_name(rpc)}"


def class_names(base: str, node_type: int) -> Sequence[str]:
    """The public names besides the constant that a node of this kind gets in its module."""
    return [base + ending for ending in _CLASS_ENDINGS.get(node_type, ("Client",))]


def mesh_properties(services: Iterable[str]) -> Mapping[str, str]:
    """The properties by which an orchestrator's code reaches services, by their full names.

    Where two services have one base name, both are prefixed by the last part of their package
    that is no version; where that is the same, too, by their whole package.
    """
    plain = {service: snake_case(base_name(service)) for service in services}
    prefixed = _told_apart(plain, plain, _package_word)
    return _told_apart(prefixed, plain, _package_words)


def is_taken(word: str) -> bool:
    """Whether Python does not let a word be the name of an attribute, parameter or module."""
    return keyword.iskeyword(word) or not word.isidentifier()


def _told_apart(
    names: Mapping[str, str], plain: Mapping[str, str], prefix: Callable[[str], str]
) -> Mapping[str, str]:
    """The names, those that stand twice made anew of the plain ones with a prefix."""
    found = Counter(names.values())
    return {
        service: name if found[name] == 1 else f"{prefix(service)}_{plain[service]}".lstrip("_")
        for service, name in names.items()
    }


def _package_words(service: str) -> str:
    return "_".join(service.split(".")[:-1])


def _package_word(service: str) -> str:
    words = [part for part in service.split(".")[:-1] if not _VERSION.fullmatch(part)]
    return words[-1] if words else ""
