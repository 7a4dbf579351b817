from __future__ import annotations

import pytest

from onex_grpc.codegen.check_names import path_fault


@pytest.mark.parametrize(
    "file",
    ["shop/v1/class.proto", "my-shop/v1/a-b.proto", "order.proto", "os.proto", "shop/email.proto"],
)
def test_a_proto_whose_modules_can_be_imported(file: str) -> None:
    assert path_fault(file) == ""


@pytest.mark.parametrize(
    "file",
    [
        "import/v1/order.proto",
        "2fa/v1/a.proto",
        "2fa.proto",
        "a.b.proto",
        "email/v1/a.proto",
        "types/a.proto",
        "onex_grpc/a.proto",
    ],
)
def test_a_proto_whose_modules_could_not_be_imported(file: str) -> None:
    assert path_fault(file)
