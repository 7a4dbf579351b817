"""The number of rows to read at once where their bytes cannot be limited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST: Final = 4


class Portion:
    """A number of rows that goes by the size of those that were read before.

    It begins small and at most doubles from one read to the next, so that large rows are met while
    few are asked for.

    Args:
        most: rows at once.
        size: bytes that they should have together; one row may have more.
    """

    def __init__(self, most: int, size: int) -> None:
        self._most = most
        self._size = size
        self._largest = size // _FIRST

    @property
    def rows(self) -> int:
        """The number of rows to ask for; at least one."""
        return max(1, min(self._most, self._size // self._largest))

    def learn(self, sizes: Sequence[int]) -> None:
        """Go by the rows that were read."""
        if sizes:
            self._largest = max(*sizes, self._largest // 2, 1)
