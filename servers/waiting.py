"""An algorithm by hand, for trying deadlines and cancellation at the generic door."""

import asyncio
import logging
import time

from onex_grpc.compute import ComputeInput

_log = logging.getLogger(__name__)


async def wait(data: ComputeInput) -> float:
    """Waits `seconds` (0 to 60), to see that a deadline reaches the one who works."""
    seconds = data.parameters.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= 60:
        raise data.invalid("must be a number from 0 to 60", "algorithm_config.parameters.seconds")
    began = time.monotonic()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _log.info("demo.wait cancelled", extra={"after_s": round(time.monotonic() - began, 3)})
        raise
    return time.monotonic() - began
