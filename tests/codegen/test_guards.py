"""Guards may use whatever a state and a request can have, in files of every syntax."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_PROTO: Final = Path(__file__).parents[2] / "proto"
_PLUGIN: Final = Path(sys.executable).with_name("protoc-gen-onex")

_MONEY: Final = """
syntax = "proto2";
package money.v1;
message Money {
  enum Currency { CURRENCY_EUR = 7; CURRENCY_USD = 8; }
  optional Currency currency = 1 [default = CURRENCY_USD];
  optional group Amount = 2 { required int64 cents = 1; }
  extensions 100 to 200;
}
"""
_ORDER: Final = """
edition = "2023";
package order.v1;
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "money/v1/money.proto";
import "onex/v1/options.proto";
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }
enum Size { option features.enum_type = CLOSED; SIZE_SMALL = 1; SIZE_LARGE = 2; }
message Order {
  enum Status {
    STATUS_UNSPECIFIED = 0; STATUS_NEW = 1; STATUS_DONE = 2;
  }
  Status status = 1;
  money.v1.Money price = 2;
  map<string, Line> lines = 3;
  google.protobuf.Timestamp placed = 4;
  google.protobuf.Struct labels = 5;
  google.protobuf.StringValue note = 6;
  Order former = 7;
  Size size = 8;
  message Line { uint32 quantity = 1; oneof kind { string text = 2; bytes data = 3; } }
}
message FinishRequest { string order_id = 1; google.protobuf.Value why = 2; }
message FinishResponse {}
service OrderService {
  option (onex.v1.node) = {
    type: NODE_TYPE_REDUCER version: "1.0.0" key: "order_id"
    state: "order.v1.Order" initial: "STATUS_NEW"
  };
  rpc Finish(FinishRequest) returns (FinishResponse) {
    option (onex.v1.transition) = {
      sources: ["STATUS_NEW"] targets: ["STATUS_DONE"]
      guard: "GUARD"
    };
  }
}
"""


@pytest.mark.parametrize(
    "guard",
    [
        "state.size == order.v1.Size.SIZE_LARGE",
        "state.price.amount.cents > 0 && state.price.currency == 7",
        "state.lines.all(name, state.lines[name].quantity > 0u)",
        "state.lines['a'].text == action.order_id",
        "state.placed < timestamp('2026-01-01T00:00:00Z')",
        "state.labels.size() == 0 || action.why == 'because'",
        "state.note == null || state.note.startsWith('x')",
        "state.former.former.status == order.v1.Order.Status.STATUS_DONE",
        "state.status == int(order.v1.Colour.COLOUR_RED)",
        "money.v1.Money{currency: 7} == state.price",
        "has(state.former) ? true : action.why",
    ],
)
def test_a_guard_that_fits_is_taken(tmp_path: Path, guard: str) -> None:
    run = _generate(tmp_path, guard)
    assert (run.stderr, run.returncode) == ("", 0)


def test_a_guard_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    run = _generate(tmp_path, "state.price.amount.euros > 0")
    assert run.returncode == 1
    assert "undefined field 'euros'" in run.stderr


def _generate(folder: Path, guard: str) -> subprocess.CompletedProcess[str]:
    for package, text in (("money", _MONEY), ("order", _ORDER.replace("GUARD", guard))):
        (folder / package / "v1").mkdir(parents=True)
        (folder / package / "v1" / f"{package}.proto").write_text(text)
    return subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--plugin=protoc-gen-onex={_PLUGIN}"),
            *(f"-I{folder}", f"-I{_PROTO}", f"--onex_out={folder}", "order/v1/order.proto"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
