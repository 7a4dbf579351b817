"""Whether a lease was granted while an earlier one must still have run."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.torture.register import Kind, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.torture.recorder import Record


@dataclass(slots=True)
class _Term:
    """One lease.

    Attributes:
        granted_ns: when its grant was answered at the latest.
        prolonged_ns: when its last grant or renewal was asked for: it runs a ttl from there at
            least.
        released_ns: when its release was first asked for.
    """

    granted_ns: int
    prolonged_ns: int
    released_ns: float = float("inf")


def early_takeovers(
    history: Sequence[Record], ttl_us: int, tolerance_us: int
) -> Sequence[tuple[int, int]]:
    """Pairs of fences, of which the second was granted before the first's lease could have ended.

    Args:
        history: the calls on one workflow.
        ttl_us: of all its leases.
        tolerance_us: how far the store's clock may have gone ahead of the recorded one.
    """
    terms = _terms(history)
    fences = sorted(terms)
    found = []
    for fence, following in itertools.pairwise(fences):
        term, taken_ns = terms[fence], terms[following].granted_ns
        ends_ns = term.prolonged_ns + (ttl_us - tolerance_us) * 1000
        if taken_ns < ends_ns and term.released_ns > taken_ns:
            found.append((fence, following))
    return found


def _terms(history: Sequence[Record]) -> dict[int, _Term]:
    terms: dict[int, _Term] = {}
    for record in history:
        call = record.call
        if call.kind is Kind.ACQUIRE and call.result is Result.OK and record.returned is not None:
            terms[call.fence] = _Term(record.returned, record.invoked)
    for record in history:
        term = terms.get(record.call.fence)
        if term is None:
            continue
        if record.call.kind is Kind.RENEW and record.call.result is Result.OK:
            term.prolonged_ns = max(term.prolonged_ns, record.invoked)
        elif record.call.kind is Kind.RELEASE:
            term.released_ns = min(term.released_ns, record.invoked)
    return terms
