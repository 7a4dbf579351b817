"""Where what is made of a proto lies in Python."""

from __future__ import annotations


def module_of(file: str, suffix: str) -> str:
    """The Python module of a proto: orders.v1.desk_pb2 for orders/v1/desk.proto and `_pb2`."""
    return file.removesuffix(".proto").replace("-", "_").replace("/", ".") + suffix
