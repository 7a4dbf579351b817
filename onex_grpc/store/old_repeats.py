"""Repeats that come when the record of their first sending may have been removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from onex_grpc.errors import OutcomeUnknownError
from onex_grpc.store.clock import wall_clock_us

_DAY_US: Final = 86_400 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OldRepeats:
    """Tells which repeats are so old that "no record" does not mean "not carried out".

    A record stays for its retention from its end on. A repeat is too old a day before that, or
    after half of a retention below two days: by so much the sender's clock may differ from that of
    the store.
    """

    def __init__(self, retention_us: int, setting: str) -> None:
        """Takes how long records stay, and the name of the setting that says so."""
        self._retention_us = retention_us
        self._setting = setting
        self._oldest_us = max(retention_us - _DAY_US, retention_us // 2)

    def includes(self, issued_us: int) -> bool:
        """Return True for a repeat of a first sending too long ago; 0 is a first sending itself."""
        return 0 < issued_us < wall_clock_us() - self._oldest_us

    def refusal(self, what: str, issued_us: int) -> OutcomeUnknownError:
        """Return the error for a repeat without a record.

        Args:
            what: names the action, as the subject of a sentence.
            issued_us: when it was first sent.
        """
        sent = (_EPOCH + timedelta(microseconds=issued_us)).isoformat(timespec="seconds")
        return OutcomeUnknownError(
            f"{what} was first sent {_age(wall_clock_us() - issued_us)} ago, at {sent}, and is not"
            f" on record; records stay for {_age(self._retention_us)} ([retention]"
            f" {self._setting}), less a margin for clocks that differ, so it may have been carried"
            " out and was not repeated; look at what it was to change, and where that is missing"
            " send it as a new action",
            context={"issued_at": sent},
        )


def _age(us: int) -> str:
    days = us / _DAY_US
    return f"{round(days, 1):g} days" if days >= 2 else f"{us / 1e6:g} s"
