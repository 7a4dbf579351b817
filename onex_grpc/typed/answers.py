"""Answers of pure calculations, kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from google.protobuf.message import Message

R = TypeVar("R", bound=Message)

_MOST: Final = 1024
_MOST_BYTES: Final = 8 * 1024 * 1024


class Answers:
    """The latest answers of one rpc by their requests; at most 1024, and 8 MiB of them.

    They are kept as bytes: whoever got one may change it.
    """

    def __init__(self, response: type[Message]) -> None:
        self._response = response
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, request: bytes) -> Message | None:
        """The answer to a request in canonical bytes; None for an unknown one."""
        raw = self._known.get(request)
        if raw is None:
            return None
        self._known.move_to_end(request)
        return self._response.FromString(raw)

    def keep(self, request: bytes, response: Message) -> None:
        """Notes an answer, and forgets the oldest ones beyond the limits."""
        if request in self._known:
            return
        raw = response.SerializeToString()
        self._known[request] = raw
        self._bytes += len(request) + len(raw)
        while len(self._known) > _MOST or self._bytes > _MOST_BYTES:
            oldest, answer = self._known.popitem(last=False)
            self._bytes -= len(oldest) + len(answer)
