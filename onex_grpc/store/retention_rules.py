"""What purging must know of actions, free of any database."""

from __future__ import annotations

from typing import Final

from onex.v1 import action_pb2

START_WORKFLOW: Final = int(action_pb2.ACTION_TYPE_START_WORKFLOW)
"""The type of the action by which a workflow is known for all time."""
