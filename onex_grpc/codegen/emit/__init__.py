"""From records to Python modules: pure functions, one module a kind of node."""

from onex_grpc.codegen.emit.module import emit_module, module_path

__all__ = ["emit_module", "module_path"]
