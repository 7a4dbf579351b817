"""What the emitters of one module share: its text, its imports, its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.emit.imports import Imports
from onex_grpc.codegen.names import rpc_constant
from onex_grpc.codegen.writer import Writer

if TYPE_CHECKING:
    from onex_grpc.codegen.schema import MessageType, NodeRecord, RpcRecord, Schema


class Page:
    """One generated module while it is written.

    Attributes:
        schema: all that is known.
        file: path of the proto.
        out: the module's text after its imports.
        imports: what the text uses so far.
    """

    def __init__(self, schema: Schema, file: str) -> None:
        self.schema = schema
        self.file = file
        self.out = Writer()
        self.imports = Imports()

    def message(self, message: MessageType) -> str:
        """The Python class of a message."""
        return f"{self.imports.stubs(message.file)}.{'.'.join(message.path)}"

    def onex(self, name: str) -> str:
        """A name of the frozen module."""
        return f"_onex.{name}"

    def rpc_constant(self, node: NodeRecord, rpc: RpcRecord) -> str:
        """The private constant of an rpc."""
        return rpc_constant(node.base, rpc.name)
