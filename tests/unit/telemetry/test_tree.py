from onex_grpc.telemetry import SpanKind, SpanRecord, render_tree

MS = 1_000_000


def span(
    name: str, start: int, end: int, parent: str = "", links: tuple[str, ...] = ()
) -> SpanRecord:
    return SpanRecord(
        trace_id="t",
        span_id=name,
        parent_id=parent,
        name=name,
        kind=SpanKind.SERVER,
        service="shop",
        node="reducer/orders" if parent else "",
        start_ns=start * MS,
        end_ns=end * MS,
        error=name == "failed",
        links=[("t", link) for link in links],
    )


def test_spans_stand_below_their_parents_in_order_of_time() -> None:
    spans = [
        span("second", 5, 9, parent="root"),
        span("failed", 6, 7, parent="second"),
        span("root", 0, 10),
        span("first", 1, 4, parent="root"),
        span("intent", 20, 22, links=("first",)),
    ]

    assert render_tree(spans).splitlines() == [
        "root [server]            shop  10.0 ms",
        "├─ first [server]        reducer/orders  3.0 ms",
        "│  └─ ~ intent [server]  shop  2.0 ms",
        "└─ second [server]       reducer/orders  4.0 ms",
        "   └─ failed [server]    reducer/orders  1.0 ms ERROR",
    ]


def test_span_whose_parent_is_elsewhere_stands_at_the_top() -> None:
    assert render_tree([span("alone", 0, 1, parent="unknown")]).startswith("alone [server]")
    assert render_tree([]) == ""
