"""What a user gets from the package index: the wheel alone, in a venv of her own."""

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A fresh venv fetches every dependency.
pytestmark = pytest.mark.timeout(180)

CONTRACT = """\
syntax = "proto3";

package shop.v1;

import "onex/v1/common.proto";

message Shelf {
  onex.v1.NodeType served_by = 1;
}

service ShelfService {
  rpc GetShelf(Shelf) returns (Shelf);
}
"""


NODE = """\
from onex.v1 import common_pb2
from onex_grpc import NodeCompute, Service
from onex.v1 import node_pb2
from shop.v1 import shelf_pb2, shelf_pb2_grpc


class ShelfNode(NodeCompute):
    descriptor = node_pb2.NodeDescriptor(name="shelf", version="1.0.0")

    def services(self):
        mine = Service.of(shelf_pb2_grpc.add_ShelfServiceServicer_to_server, Shelves())
        return [*super().services(), mine]


class Shelves(shelf_pb2_grpc.ShelfServiceServicer):
    async def GetShelf(self, request, context):
        return shelf_pb2.Shelf(served_by=common_pb2.NODE_TYPE_COMPUTE)
"""

CLIENT = """\
import asyncio
import sys

from onex.v1 import common_pb2, compute_pb2, compute_pb2_grpc
from onex_grpc import AlgorithmNotFoundError, Mesh
from shop.v1 import shelf_pb2, shelf_pb2_grpc


async def main():
    mesh = Mesh({"compute": sys.argv[1]})
    shelves = mesh.stub(shelf_pb2_grpc.ShelfServiceStub, "compute")
    shelf = await shelves.GetShelf(shelf_pb2.Shelf())
    print(common_pb2.NodeType.Name(shelf.served_by))
    compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
    contract = compute_pb2.ModelContractCompute()
    contract.algorithm_config.algorithm_type = "sum"
    contract.input_data.value.list_value.extend([1, 2, 3, 4, 5])
    total = await compute.ExecuteCompute(contract)
    print(total.processed_data.value.number_value)
    contract.algorithm_config.algorithm_type = "magic"
    try:
        await compute.ExecuteCompute(contract)
    except AlgorithmNotFoundError as error:
        print(error.reason)
    await mesh.close()


asyncio.run(main())
"""


def clean_environment() -> dict[str, str]:
    """Without what would make the repository importable by accident."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, so that one is shown to be complete too."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a clean venv that holds the wheel and its dependencies."""
    venv = tmp_path_factory.mktemp("user") / "venv"
    run(sys.executable, "-m", "venv", venv, cwd=ROOT)
    interpreter = venv / "bin" / "python"
    install = (interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*install, "--constraint", ROOT / "constraints.txt", f"{wheel}[codegen]", cwd=venv)
    return interpreter


def test_wheel_holds_sdk_stubs_and_protos_only(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    protos = {f.relative_to(ROOT / "proto").as_posix() for f in ROOT.glob("proto/onex/**/*.proto")}
    stubs = {
        f.relative_to(ROOT / "generated").as_posix() for f in ROOT.glob("generated/onex/**/*.py*")
    }
    code = {f.relative_to(ROOT).as_posix() for f in ROOT.glob("onex_grpc/**/*.py")}
    typed = {"onex/py.typed", "onex_grpc/py.typed"}
    stubs -= {name for name in stubs if "__pycache__" in name}
    assert protos
    assert protos | stubs | code | typed <= names
    assert {name.split("/")[0] for name in names} == {
        "onex",
        "onex_grpc",
        "onex_grpc-0.1.0.dist-info",
    }


@pytest.fixture
def shop(python: Path, tmp_path: Path) -> Path:
    """A user's folder: her contract, compiled against the wheel, and her node."""
    source = tmp_path / "shop" / "v1" / "shelf.proto"
    source.parent.mkdir(parents=True)
    source.write_text(CONTRACT)
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = run(python, "-c", purelib, cwd=tmp_path)
    protoc = (python, "-m", "grpc_tools.protoc", "-I.", f"-I{site_packages}")
    run(*protoc, "--python_out=.", "--grpc_python_out=.", "shop/v1/shelf.proto", cwd=tmp_path)
    (tmp_path / "shopnodes.py").write_text(NODE)
    (tmp_path / "client.py").write_text(CLIENT)
    return tmp_path


def test_user_compiles_her_contract_against_the_wheel(python: Path, shop: Path) -> None:
    program = (
        "from onex.v1 import common_pb2\n"
        "from shop.v1 import shelf_pb2, shelf_pb2_grpc\n"
        "shelf = shelf_pb2.Shelf(served_by=common_pb2.NODE_TYPE_REDUCER)\n"
        "again = shelf_pb2.Shelf.FromString(shelf.SerializeToString())\n"
        "print(common_pb2.NodeType.Name(again.served_by), shelf_pb2_grpc.ShelfServiceStub.__name__)"
    )
    assert run(python, "-c", program, cwd=shop) == "NODE_TYPE_REDUCER ShelfServiceStub"


def blocks(language: str) -> list[str]:
    """The README's blocks in a language, up to the call from another one."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = readme.split("\n## A first node\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", first, re.DOTALL)


def test_a_newcomer_follows_the_readme(python: Path, tmp_path: Path) -> None:
    [proto] = blocks("proto")
    node, client = blocks("python")
    (tmp_path / "shop" / "v1").mkdir(parents=True)
    (tmp_path / "shop" / "v1" / "tax.proto").write_text(proto)
    (tmp_path / "tax.py").write_text(node)
    onex = python.parent / "onex"
    run(onex, "generate", "shop/v1/tax.proto", "--out", ".", cwd=tmp_path)
    with serving(onex, "tax:Tax", tmp_path) as address:
        (tmp_path / "client.py").write_text(client.replace("127.0.0.1:50052", address))
        answer = run(python, "client.py", cwd=tmp_path)
        health = run(onex, "health", address, cwd=tmp_path)

    assert answer == "1190"
    assert "shop.v1.TaxService" in health


@contextmanager
def serving(onex: Path, place: str, folder: Path) -> Iterator[str]:
    """The address of a node that is served while the block runs, and then ends well."""
    with subprocess.Popen(
        (onex, "serve", place, "--port", "0"),
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        if not line.startswith("serving compute/"):
            raise AssertionError(process.stderr.read())
        yield line.split()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_user_serves_her_node_and_calls_it(python: Path, shop: Path) -> None:
    onex = python.parent / "onex"
    with serving(onex, "shopnodes:ShelfNode", shop) as address:
        answers = run(python, "client.py", address, cwd=shop)
        health = run(onex, "health", address, cwd=shop)

    assert answers.splitlines() == ["NODE_TYPE_COMPUTE", "15.0", "ALGORITHM_NOT_FOUND"]
    assert "compute/shelf" in health
    assert "shop.v1.ShelfService" in health
