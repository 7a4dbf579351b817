"""Log lines of a connection that is kept up: when it is lost, and when it is back."""

from __future__ import annotations

import logging
import time
from typing import Final

from onex_grpc.errors import NodeUnavailableError, OnexError

_log = logging.getLogger(__name__)
_PATIENCE: Final = 10.0


class Contact:
    """A connection to one peer, of which each loss is told once.

    A peer that is not there yet, or that said goodbye, is given time to come before it is told as
    missing: processes of a mesh start and stop in any order.
    """

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._expected = False
        self._told = False
        self._since = time.monotonic()

    def answered(self) -> None:
        """Note that the peer is there."""
        if self._told:
            self._told = False
            _log.info("%s is back", self._peer)
        self._expected = True

    def failed(self, error: OnexError) -> None:
        """Note the error with which the connection ended, or could not be made."""
        # A peer's own errors name it; those of the transport, about one that is gone, do not.
        says = isinstance(error, NodeUnavailableError) and bool(error.node)
        if says and (self._expected or self._is_overdue()):
            _log.info("%s does not serve now: %s", self._peer, error.message)
            self._expected = False
            self._since = time.monotonic()
        else:
            self.broke(error.message)

    def broke(self, reason: str) -> None:
        """Note that the connection is gone without a word of the peer."""
        if self._told:
            return
        if self._expected:
            _log.warning("%s is lost: %s; connecting again", self._peer, reason)
        elif self._is_overdue():
            _log.warning("%s cannot be reached: %s; trying again", self._peer, reason)
        else:
            return
        self._told = True
        self._expected = False

    def _is_overdue(self) -> bool:
        return time.monotonic() - self._since >= _PATIENCE
