"""What it costs to check and generate the sample and 300 services: protoc with the plugin.

Promised are half a second for the sample and five for 300 services. Their contract has all four
kinds in equal parts, five rpcs a service; each reducer has a state machine with a guard on every
transition.

    python -m bench.codegen [--json] [--services N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROTO: Final = Path(__file__).parents[1] / "proto"
_PLUGIN: Final = Path(sys.executable).with_name("protoc-gen-onex")
_PACKAGES: Final = ("onex-grpc", "protobuf", "grpcio-tools", "cel-expr-python")
_RPCS: Final = 5
_HEAD: Final = 'syntax = "proto3";\n\npackage bench.v1;\n\nimport "onex/v1/options.proto";\n'


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    sample = [_measure_sample() for _ in range(arguments.rounds)]
    seconds = [_measure(arguments.services) for _ in range(arguments.rounds)]
    if arguments.json:
        found = {"services": arguments.services, "rpcs": _RPCS, "seconds": seconds}
        print(json.dumps({**found, "sample_seconds": sample, "versions": versions}))
    else:
        name = f"{arguments.services} services of {_RPCS} rpcs"
        _print_table({"the sample": sample, name: seconds}, versions)


def contract(services: int) -> str:
    """A proto of so many services, a quarter of each kind."""
    parts = [_effect, _compute, _reducer, _orchestrator]
    return _HEAD + "".join(parts[n % 4](n // 4) for n in range(services))


def _measure_sample() -> float:
    protos = sorted(path.relative_to(_PROTO) for path in _PROTO.glob("orders/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        return _time(folder, *map(str, protos))


def _measure(services: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.proto").write_text(contract(services))
        return _time(folder, "bench.proto")


def _time(folder: str, *protos: str) -> float:
    started = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own generator
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--plugin=protoc-gen-onex={_PLUGIN}"),
            *(f"-I{folder}", f"-I{_PROTO}", f"--onex_out={folder}", *protos),
        ],
        check=True,
    )
    return time.perf_counter() - started


def _effect(n: int) -> str:
    return _service(
        f"Mail{n}", "EFFECT", "", "    option (onex.v1.operation) = {idempotent: true};"
    )


def _compute(n: int) -> str:
    depends = f'depends_on: ["bench.v1.Mail{n}Service"]'
    return _service(
        f"Price{n}", "COMPUTE", depends, "    option (onex.v1.operation).cacheable = true;"
    )


def _reducer(n: int) -> str:
    base = f"Order{n}"
    states = "".join(f"  {base.upper()}_STATUS_S{i} = {i};\n" for i in range(1, _RPCS + 2))
    enum = f"\nenum {base}Status {{\n  {base.upper()}_STATUS_UNSPECIFIED = 0;\n{states}}}\n"
    message = f"\nmessage {base} {{\n  {base}Status status = 1;\n  uint64 cents = 2;\n}}\n"
    node = (
        f'state: "bench.v1.{base}" initial: "{base.upper()}_STATUS_S1" key: "id"'
        f' emits: ["bench.v1.Mail{n}Service/Call1"]'
    )
    transition = (
        f'    option (onex.v1.transition) = {{sources: "{base.upper()}_STATUS_S{{0}}"'
        f' targets: "{base.upper()}_STATUS_S{{1}}" guard: "state.cents > action.cents"}};'
    )
    return enum + message + _service(base, "REDUCER", node, transition)


def _orchestrator(n: int) -> str:
    names = ", ".join(f'"bench.v1.{base}{n}Service"' for base in ("Mail", "Price", "Order"))
    node = f'key: "id" depends_on: [{names}]'
    return _service(
        f"Flow{n}", "ORCHESTRATOR", node, "    option (onex.v1.operation).timeout = {seconds: 9};"
    )


def _service(base: str, kind: str, node: str, of_rpc: str) -> str:
    return "".join(_lines(base, kind, node, of_rpc))


def _lines(base: str, kind: str, node: str, of_rpc: str) -> Iterator[str]:
    for i in range(1, _RPCS + 1):
        yield f"\nmessage {base}Call{i}Request {{\n  string id = 1;\n  uint64 cents = 2;\n}}\n"
        yield f"\nmessage {base}Call{i}Response {{}}\n"
    yield f"\n// {base}Service is measured.\nservice {base}Service {{\n"
    yield f'  option (onex.v1.node) = {{type: NODE_TYPE_{kind} version: "1.0.0" {node}}};\n'
    for i in range(1, _RPCS + 1):
        yield f"  // Call{i} is measured.\n"
        yield f"  rpc Call{i}({base}Call{i}Request) returns ({base}Call{i}Response) {{\n"
        yield of_rpc.replace("{0}", str(i)).replace("{1}", str(i + 1)) + "\n  }\n"
    yield "}\n"


def _print_table(found: Mapping[str, list[float]], versions: Mapping[str, str]) -> None:
    table = Table(title="protoc with protoc-gen-onex")
    table.add_column("contract")
    for column in ("median s", "fastest s", "rounds"):
        table.add_column(column, justify="right")
    for name, seconds in found.items():
        median, fastest = f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f}"
        table.add_row(name, median, fastest, str(len(seconds)))
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {number}" for name, number in versions.items()))


if __name__ == "__main__":
    main()
