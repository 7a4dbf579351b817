"""Faults of a node's own code, told in one line: what, and where."""

from __future__ import annotations

import traceback


def describe_fault(fault: BaseException) -> str:
    """An exception's class and text, and the file and line where it was raised."""
    text = f"{type(fault).__name__}: {fault}".rstrip(": ")
    if isinstance(fault, SyntaxError):
        # Its text says where, but not in which folder.
        return f"{type(fault).__name__}: {fault.msg} ({fault.filename}, line {fault.lineno})"
    frames = traceback.extract_tb(fault.__traceback__)
    # The import machinery's own frames say nothing about the fault.
    own = [frame for frame in frames if not frame.filename.startswith("<frozen ")]
    return f"{text} ({own[-1].filename}, line {own[-1].lineno})" if own else text
