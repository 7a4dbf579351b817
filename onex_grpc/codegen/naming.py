"""Python names for what protos call otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onex_grpc.codegen.schema import NodeRecord, Schema

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_VERSION: Final = re.compile(r"v[0-9]+[a-z0-9]*")
_SUFFIX: Final = "Service"


def snake(name: str) -> str:
    """PlaceOrder as place_order, GetHTTPStatus as get_http_status."""
    return _WORD_START.sub("_", name).lower()


def base_of(service: str) -> str:
    """A service's own name without its suffix: Order for OrderService."""
    return service.removesuffix(_SUFFIX) or service


def node_name_of(base: str) -> str:
    """The name of a node whose options give none: quote-book for QuoteBook."""
    return snake(base).replace("_", "-")


def constant_of(base: str) -> str:
    """The name of a contract's constant: QUOTE_BOOK for QuoteBook."""
    return snake(base).upper()


def module_of(file: str, suffix: str) -> str:
    """The Python module that protoc makes of a proto: shop.v1.a_pb2 for shop/v1/a.proto."""
    return file.removesuffix(".proto").replace("-", "_").replace("/", ".") + suffix


def mesh_names(schema: Schema, node: NodeRecord) -> Mapping[str, str]:
    """The properties of an orchestrator's mesh: the Python name by the dependency's full name.

    The base name, with the package's last part before it where two have the same, with the whole
    package where even that is not enough. A dependency that is no node has none.
    """
    known = [name for name in dict.fromkeys(node.options.depends_on) if name in schema.nodes]
    forms = {name: _forms(name, snake(schema.nodes[name].base)) for name in known}
    level = dict.fromkeys(known, 0)
    for longer in (1, 2):
        names = [forms[name][level[name]] for name in known]
        for name in known:
            if names.count(forms[name][level[name]]) > 1:
                level[name] = longer
    return {name: forms[name][level[name]] for name in known}


def _forms(service: str, base: str) -> tuple[str, str, str]:
    package = service.split(".")[:-1]
    last = next((part for part in reversed(package) if not _VERSION.fullmatch(part)), "")
    whole = "_".join(package)
    return base, _joined(snake(last), base), _joined(snake(whole), base)


def _joined(prefix: str, base: str) -> str:
    return f"{prefix}_{base}" if prefix else base
