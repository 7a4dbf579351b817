"""What is a secret does not stand in a text that ends up in a log."""

from __future__ import annotations

import pytest

from onex_grpc.context import CallContext, LeaseClaim
from onex_grpc.effect import CustomCall, CustomTarget
from onex_grpc.lease.token import LeaseClaims
from onex_grpc.serve import Settings
from onex_grpc.store.model import Guard, LeaseGrant

SECRET = "hunter2-planted-secret"
CLAIM = LeaseClaim("wf", SECRET, 7, SECRET)


@pytest.mark.parametrize(
    "value",
    [
        CLAIM,
        CallContext("c", lease=CLAIM),
        Guard("wf", SECRET, 7),
        LeaseGrant("wf", SECRET, 7, "holder", 1, 1, 0),
        LeaseClaims("wf", SECRET, 7, "holder", 1),
        CustomCall("bank", {"password": SECRET}, "key", "c"),
        Settings(
            store=f"postgresql://u:{SECRET}@h/db",
            targets={"bank": CustomTarget(options={"password": SECRET})},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_secret_is_shown(value: object) -> None:
    assert SECRET not in repr(value)
    assert SECRET not in str(value)
