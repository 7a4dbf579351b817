import pytest

from onex.v1 import node_pb2
from onex_grpc.serve.node_service import Usage, judge
from onex_grpc.serve.settings import LimitSettings

HEALTHY = node_pb2.HEALTH_STATUS_HEALTHY
DEGRADED = node_pb2.HEALTH_STATUS_DEGRADED


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        (node_pb2.NodeHealthStatus(), HEALTHY),
        (node_pb2.NodeHealthStatus(dependencies={"db": True}), HEALTHY),
        (node_pb2.NodeHealthStatus(dependencies={"db": True, "mail": False}), DEGRADED),
        (node_pb2.NodeHealthStatus(resource_usage=0.9, error_rate=0.1), HEALTHY),
        (node_pb2.NodeHealthStatus(resource_usage=0.91), DEGRADED),
        (node_pb2.NodeHealthStatus(error_rate=0.11), DEGRADED),
    ],
    ids=["idle", "dependency", "dependency gone", "at the limits", "busy", "failing"],
)
def test_figure_beyond_its_limit_degrades(
    figures: node_pb2.NodeHealthStatus, verdict: node_pb2.HealthStatus.ValueType
) -> None:
    assert judge(figures, serving=True) == verdict
    assert judge(figures, serving=False) == node_pb2.HEALTH_STATUS_UNHEALTHY


def test_usage_is_the_largest_share() -> None:
    by_calls = Usage(LimitSettings(concurrent_calls=10))
    by_memory = Usage(LimitSettings(memory_bytes=1024))

    assert by_calls.largest(in_flight=9) == pytest.approx(0.9)
    assert by_calls.largest(in_flight=0) < 0.9
    assert by_memory.largest(in_flight=0) > 100
