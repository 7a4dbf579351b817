"""A trace as text: who called whom, at which node, how long it took."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onex_grpc.telemetry.span import AttributeValue, SpanKind


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span that has ended, as a collector gets it.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_id: that of the span above; empty for the first of a trace.
        name: what was done.
        kind: the part in the trace.
        service: `service.name` of the process.
        node: the node as `kind/name`; empty for a program that is none.
        start_ns: start, in nanoseconds of the Unix epoch.
        end_ns: end, in nanoseconds of the Unix epoch.
        attributes: the span's attributes.
        error: whether the span ended as an error.
        links: (trace id, span id) of related spans.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: SpanKind
    service: str
    node: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    error: bool = False
    links: Sequence[tuple[str, str]] = ()

    @property
    def seconds(self) -> float:
        """The span's duration."""
        return (self.end_ns - self.start_ns) / 1e9


def render_tree(spans: Sequence[SpanRecord]) -> str:
    """The spans of one trace as a tree, one line each: name, kind, node, milliseconds, and ERROR.

    A span whose parent is absent stands at the top. A linked span (an intent's execution) that
    would stand at the top is
    shown below the span that it links to.
    """
    known = {span.span_id for span in spans}
    below: dict[str, list[SpanRecord]] = defaultdict(list)
    for span in sorted(spans, key=lambda s: (s.start_ns, s.end_ns)):
        below[_place(span, known)].append(span)
    width = max((len(head) for head, _ in _lines(below, "", "")), default=0)
    return "\n".join(f"{head:<{width}}  {tail}" for head, tail in _lines(below, "", ""))


def _place(span: SpanRecord, known: set[str]) -> str:
    if span.parent_id in known:
        return span.parent_id
    return next((link for _, link in span.links if link in known and link != span.span_id), "")


def _lines(
    below: Mapping[str, Sequence[SpanRecord]], parent: str, indent: str
) -> Iterator[tuple[str, str]]:
    children = below.get(parent, ())
    for number, span in enumerate(children, start=1):
        last = number == len(children)
        branch, further = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if not parent:
            branch = further = ""
        mark = " ERROR" if span.error else ""
        linked = "~ " if parent and span.parent_id != parent else ""
        tail = f"{span.node or span.service}  {span.seconds * 1000:.1f} ms{mark}"
        yield f"{indent}{branch}{linked}{span.name} [{span.kind.name.lower()}]", tail
        yield from _lines(below, span.span_id, indent + further)
