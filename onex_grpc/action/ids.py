"""Ids of the actions that a workflow's steps are."""

from __future__ import annotations

import hashlib
from typing import Final

FIRST_RUN: Final = 0
"""The first run of a workflow; each rollback begins another, with a higher number."""
_START: Final = "/start"


def derive_action_id(workflow_id: str, run: int, path: str, item: int = 0) -> str:
    """The id of one action of a workflow: the same for whoever goes on with the workflow.

    A UUID of version 8 (RFC 9562), from a SHA-256 over the arguments.

    Args:
        workflow_id: the workflow.
        run: grows whenever the workflow is to be run anew, so that its actions are new ones.
        path: the step's id, below those of the steps that it is part of.
        item: the index of the item that the step works on.
    """
    name = f"{workflow_id}\0{run}\0{path}\0{item}".encode()
    digest = bytearray(hashlib.sha256(name).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def start_action_id(workflow_id: str) -> str:
    """The id of the action by which an orchestrator begins a workflow of its own."""
    return derive_action_id(workflow_id, FIRST_RUN, _START)
