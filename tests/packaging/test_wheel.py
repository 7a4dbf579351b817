"""What a user gets from the package index: the wheel alone, in a venv of her own."""

import os
import subprocess
import sys
import zipfile
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


def run(*command: str | Path, cwd: Path) -> str:
    # The repository must not be importable by accident.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
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


def test_user_compiles_her_contract_against_the_wheel(python: Path, tmp_path: Path) -> None:
    source = tmp_path / "shop" / "v1" / "shelf.proto"
    source.parent.mkdir(parents=True)
    source.write_text(CONTRACT)
    site_packages = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
    )

    protoc = (python, "-m", "grpc_tools.protoc", "-I.", f"-I{site_packages}")
    run(*protoc, "--python_out=.", "--grpc_python_out=.", "shop/v1/shelf.proto", cwd=tmp_path)

    program = (
        "from onex.v1 import common_pb2\n"
        "from shop.v1 import shelf_pb2, shelf_pb2_grpc\n"
        "shelf = shelf_pb2.Shelf(served_by=common_pb2.NODE_TYPE_REDUCER)\n"
        "again = shelf_pb2.Shelf.FromString(shelf.SerializeToString())\n"
        "print(common_pb2.NodeType.Name(again.served_by), shelf_pb2_grpc.ShelfServiceStub.__name__)"
    )
    assert run(python, "-c", program, cwd=tmp_path) == "NODE_TYPE_REDUCER ShelfServiceStub"
