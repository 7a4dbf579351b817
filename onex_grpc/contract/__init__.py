"""What the contracts promise, enforced.

`check` for messages, `data` for open values, `node` for descriptors, `expression` for CEL.
"""

from onex_grpc.contract.check import check

__all__ = ["check"]
