"""Which traces are recorded; decided before anything is built, so that the others cost nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onex_grpc.telemetry.traceparent import TraceParent

_ALL: Final = 1 << 64
_RATIOS: Final[Mapping[str, float | None]] = {
    "always_on": 1.0,
    "always_off": 0.0,
    "traceidratio": None,
}


@dataclass(frozen=True, slots=True)
class Sampler:
    """A share of the traces by their ids, so that every process decides alike.

    Attributes:
        ratio: the share, 0.0 to 1.0.
        follow_parent: a call that belongs to a trace already goes by its caller's decision.
        bound: the trace is kept if the low 64 bits of its id are below it.
    """

    ratio: float
    follow_parent: bool
    bound: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", round(self.ratio * _ALL))

    def keeps_root(self, trace_id: str) -> bool:
        """Whether a trace is recorded (TraceIdRatioBased of the OpenTelemetry SDK: the low 64 bits
        below a bound).
        """
        return int(trace_id[16:], 16) < self.bound

    def keeps_child(self, parent: TraceParent) -> bool:
        """Whether a span below this parent is recorded."""
        return parent.sampled if self.follow_parent else self.keeps_root(parent.trace_id)


def sampler_from(environment: Mapping[str, str]) -> Sampler:
    """The sampler of OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG; everything is recorded
    where they are absent.

    Raises:
        ConfigurationError: for an unknown sampler or a ratio that is not within 0 and 1.
    """
    name = environment.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
    kind = name.removeprefix("parentbased_")
    if kind not in _RATIOS:
        known = ", ".join(f"{prefix}{k}" for prefix in ("", "parentbased_") for k in _RATIOS)
        raise ConfigurationError(f"OTEL_TRACES_SAMPLER={name}: unknown; use one of {known}")
    ratio = _RATIOS[kind]
    if ratio is None:
        ratio = _ratio(environment.get("OTEL_TRACES_SAMPLER_ARG") or "1.0")
    return Sampler(ratio, follow_parent=kind != name)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ConfigurationError(f"OTEL_TRACES_SAMPLER_ARG={text}: give a number from 0.0 to 1.0")
    return ratio
