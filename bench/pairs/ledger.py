"""The rates measured so far, kept in a file so that a run can be stopped and continued."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.pairs.interval import Interval, median_interval

if TYPE_CHECKING:
    from pathlib import Path


class Pair(NamedTuple):
    """Calls a second of both sides, measured one right after the other."""

    new: float
    old: float


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    new: str
    old: str
    pairs: dict[str, list[Pair]]


class Ledger:
    """Pairs by figure.

    Attributes:
        pairs: those of each figure, in the order in which they were measured.
    """

    def __init__(self, new: str, old: str, path: Path | None) -> None:
        """Take up what the file has, if there is one.

        Args:
            new, old: what is compared: the digests of both sides.
            path: the file; None keeps nothing.

        Raises:
            SystemExit: the file holds pairs of other sides, or something else.
        """
        self._new, self._old, self._path = new, old, path
        self.pairs: dict[str, list[Pair]] = {}
        if path is not None and path.exists():
            self.pairs = self._read(path)

    def add(self, figure: str, pair: Pair) -> None:
        """Take one pair; `save` writes it."""
        self.pairs.setdefault(figure, []).append(pair)

    def count(self, figure: str) -> int:
        """Return the number of pairs of a figure."""
        return len(self.pairs.get(figure, ()))

    def interval(self, figure: str) -> Interval:
        """Return the interval of new ÷ old."""
        return median_interval([pair.new / pair.old for pair in self.pairs[figure]])

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self._path is None:
            return
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.write_bytes(msgspec.json.encode(_Kept(self._new, self._old, self.pairs)))
        beside.replace(self._path)

    def _read(self, path: Path) -> dict[str, list[Pair]]:
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except msgspec.DecodeError as fault:
            raise SystemExit(f"error: --state {path}: {fault}; name another file") from None
        if (kept.new, kept.old) != (self._new, self._old):
            raise SystemExit(
                f"error: --state {path} holds pairs of {kept.new} against {kept.old}, this run "
                f"compares {self._new} against {self._old}; name another file, or remove this one"
            )
        return kept.pairs
