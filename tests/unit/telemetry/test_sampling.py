import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from onex_grpc.errors import ConfigurationError
from onex_grpc.telemetry.sampling import Sampler, sampler_from
from onex_grpc.telemetry.traceparent import TraceParent, new_trace_id

SAMPLED = TraceParent("f" * 32, "b" * 16, 1)
UNSAMPLED = TraceParent("0" * 31 + "1", "b" * 16, 0)


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("", "", Sampler(1.0, follow_parent=True)),
        ("always_on", "", Sampler(1.0, follow_parent=False)),
        ("always_off", "", Sampler(0.0, follow_parent=False)),
        ("traceidratio", "0.25", Sampler(0.25, follow_parent=False)),
        ("parentbased_traceidratio", "0.01", Sampler(0.01, follow_parent=True)),
        ("parentbased_always_off", "", Sampler(0.0, follow_parent=True)),
    ],
)
def test_sampler_is_that_of_the_environment(name: str, argument: str, expected: Sampler) -> None:
    environment = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}

    assert sampler_from(environment) == expected


@pytest.mark.parametrize(
    ("name", "argument", "named"),
    [
        ("jaeger_remote", "", "OTEL_TRACES_SAMPLER=jaeger_remote"),
        ("traceidratio", "1.5", "OTEL_TRACES_SAMPLER_ARG=1.5"),
        ("traceidratio", "few", "OTEL_TRACES_SAMPLER_ARG=few"),
    ],
)
def test_setting_that_cannot_be_used_is_named(name: str, argument: str, named: str) -> None:
    environment = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}

    with pytest.raises(ConfigurationError, match=named):
        sampler_from(environment)


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_same_traces_are_kept_as_by_the_sdk(ratio: float) -> None:
    ours, theirs = Sampler(ratio, follow_parent=True), TraceIdRatioBased(ratio)
    for trace_id in (new_trace_id() for _ in range(500)):
        decision = theirs.should_sample(None, int(trace_id, 16), "call").decision
        assert ours.keeps_root(trace_id) is (decision is Decision.RECORD_AND_SAMPLE)


def test_parent_decides_where_it_is_followed() -> None:
    never = Sampler(0.0, follow_parent=True)
    assert never.keeps_child(SAMPLED)
    assert not Sampler(1.0, follow_parent=True).keeps_child(UNSAMPLED)
    assert not Sampler(0.0, follow_parent=False).keeps_child(SAMPLED)
