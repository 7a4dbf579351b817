from onex_grpc.telemetry import names
from onex_grpc.telemetry.metrics import CallMetrics

METHOD = "onex.v1.NodeService/DescribeNode"


def test_calls_are_counted_in_their_buckets() -> None:
    metrics = CallMetrics()
    for seconds in (0.001, 0.005, 0.0051, 20.0):
        metrics.record("server", METHOD, "OK", seconds)
    metrics.record("client", METHOD, "INTERNAL", 0.5)

    server, client = metrics.snapshot()

    assert server.series == ("server", METHOD, "OK")
    assert (server.counts[0], server.counts[1], server.counts[-1]) == (2, 1, 1)
    assert (server.shortest, server.longest) == (0.001, 20.0)
    assert abs(server.total - 20.0111) < 1e-9
    assert sum(client.counts) == 1
    assert client.counts[names.DURATION_BOUNDS.index(0.5)] == 1


def test_invented_methods_do_not_fill_the_memory() -> None:
    metrics = CallMetrics()
    for number in range(CallMetrics.MAX_SERIES + 100):
        metrics.record("server", f"made.up/{number}", "UNIMPLEMENTED", 0.001)

    histograms = metrics.snapshot()

    assert len(histograms) == CallMetrics.MAX_SERIES + 1
    assert sum(sum(h.counts) for h in histograms) == CallMetrics.MAX_SERIES + 100
    assert histograms[-1].series.method == "_OTHER"
