"""`onex generate`, the installed command, in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Run = Callable[..., subprocess.CompletedProcess[str]]

SHOP = """\
syntax = "proto3";

package shop.v1;

import "google/protobuf/empty.proto";
import "onex/v1/options.proto";

message GreetRequest {
  string name = 1;
}

// GreetingService greets.
service GreetingService {
  option (onex.v1.node) = {type: NODE_TYPE_COMPUTE version: "1.0.0"};
  // Greet says hello.
  rpc Greet(GreetRequest) returns (google.protobuf.Empty);
}
"""
MESSAGES = """\
syntax = "proto3";
package shop.v1;
message Nothing {}
"""
MADE = ["shop/v1/shop_onex.py", "shop/v1/shop_pb2.py", "shop/v1/shop_pb2.pyi"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing but the proto of a node, where its package says."""
    path = tmp_path / "my project"
    write(path / "proto/shop/v1/shop.proto", SHOP)
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def texts_of(folder: Path) -> Mapping[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_messages_types_and_nodes_are_made_and_named(onex: Run, folder: Path) -> None:
    run = onex(folder, "generate", "proto", "--out", "gen")

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == [f"gen/{name}" for name in MADE]
    assert list(texts_of(folder / "gen")) == MADE
    assert sorted(os.listdir(folder)) == ["gen", "proto"]


def test_what_is_made_can_be_imported(onex: Run, folder: Path) -> None:
    onex(folder, "generate", "proto", "--out", "gen")
    program = "from shop.v1.shop_onex import GREETING; print(GREETING.fingerprint[:6])"

    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, cwd=folder / "gen", capture_output=True, text=True, timeout=30)

    assert (run.stdout, run.stderr) == ("1.0.0:\n", "")


def test_a_second_run_changes_nothing(onex: Run, folder: Path) -> None:
    onex(folder, "generate", "proto/shop/v1/shop.proto", "--out", "gen")
    before = texts_of(folder / "gen")

    assert onex(folder, "generate", "proto", "--out", "gen").returncode == 0
    assert texts_of(folder / "gen") == before


def test_json_says_the_same(onex: Run, folder: Path) -> None:
    run = onex(folder, "generate", "proto", "--out", "gen", "--json")

    files = [f"gen/{name}" for name in MADE]
    assert json.loads(run.stdout) == {"files": files, "errors": [], "warnings": []}


def test_a_proto_in_the_current_folder_is_named_from_there(onex: Run, tmp_path: Path) -> None:
    write(tmp_path / "shop.proto", SHOP)

    run = onex(tmp_path, "generate", "shop.proto", "--out", ".")

    assert run.stdout.splitlines() == ["shop_onex.py", "shop_pb2.py", "shop_pb2.pyi"]


def test_include_says_where_imports_start(onex: Run, tmp_path: Path) -> None:
    write(tmp_path / "a/things/nothing.proto", MESSAGES)
    used = SHOP.replace("google/protobuf/empty", "things/nothing")
    write(tmp_path / "b/shop.proto", used.replace("google.protobuf.Empty", "Nothing"))

    run = onex(tmp_path, "generate", "b/shop.proto", "-I", "b", "-I", "a", "--out", "gen")

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[0] == "gen/shop_onex.py"


def test_hidden_folders_and_environments_are_not_searched(onex: Run, folder: Path) -> None:
    write(folder / "venv/pyvenv.cfg", "")
    write(folder / "venv/lib/bad.proto", "nonsense")
    write(folder / ".cache/bad.proto", "nonsense")

    assert onex(folder, "generate", ".", "--out", "gen").returncode == 0


def test_modules_of_the_user_s_stand_in_for_none_of_ours(onex: Run, folder: Path) -> None:
    for name in ("grpc_tools/__init__.py", "google/__init__.py", "types.py", "onex_grpc.py"):
        write(folder / name, "raise SystemExit('wrong module')\n")

    assert onex(folder, "generate", "proto", "--out", "gen").returncode == 0


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (SHOP.replace("string name", "strong name"), 'shop/v1/shop.proto:9:3: "strong" is not'),
        (SHOP.replace('"1.0.0"', '"1"'), "shop/v1/shop.proto:14: "),
        (SHOP.replace("version:", "verzion:"), "shop/v1/shop.proto:14:"),
        (SHOP.replace("onex/v1/options", "onex/v1/optiens"), "onex/v1/optiens.proto: File not"),
    ],
    ids=["syntax", "contract", "unknown option", "import"],
)
def test_a_mistake_leaves_the_folder_as_it_was(
    onex: Run, folder: Path, proto: str, message: str
) -> None:
    onex(folder, "generate", "proto", "--out", "gen")
    before = texts_of(folder / "gen")
    write(folder / "proto/shop/v1/shop.proto", proto)
    write(folder / "proto/shop/v1/more.proto", MESSAGES)

    run = onex(folder, "generate", "proto", "--out", "gen")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(message)
    assert "Traceback" not in run.stderr
    assert texts_of(folder / "gen") == before
    assert sorted(os.listdir(folder)) == ["gen", "proto"]


def test_mistakes_are_told_in_json(onex: Run, folder: Path) -> None:
    write(folder / "proto/shop/v1/shop.proto", SHOP.replace('"1.0.0"', '"1"'))

    run = onex(folder, "generate", "proto", "--out", "gen", "--json")

    assert run.returncode == 1
    report = json.loads(run.stdout)
    assert report["files"] == []
    assert [line.partition(": ")[0] for line in report["errors"]] == ["shop/v1/shop.proto:14"]


def test_a_file_that_is_not_utf_8_is_told_by_its_line(onex: Run, folder: Path) -> None:
    path = folder / "proto/shop/v1/shop.proto"
    path.write_bytes(
        SHOP.replace("message Greet", "// gr\xfc\xdft\nmessage Greet").encode("latin-1")
    )

    run = onex(folder, "generate", "proto", "--out", "gen")

    said = "shop/v1/shop.proto:9: has a comment that is not UTF-8; save the file as UTF-8\n"
    assert (run.returncode, run.stderr) == (1, said)


def test_copies_of_our_protos_are_left_to_the_installed_ones(onex: Run, folder: Path) -> None:
    ours = Path(__file__).parents[2] / "proto" / "onex"
    shutil.copytree(ours, folder / "proto/onex")
    write(
        folder / "proto/onex/v1/mine.proto",
        SHOP.replace("shop.v1", "onex.v1").replace("Gree", "Leav"),
    )

    run = onex(folder, "generate", "proto", "--out", "gen")
    alone = onex(folder, "generate", "proto/onex/v1/options.proto", "--out", "gen")

    made = [f"gen/onex/v1/mine_{name}" for name in ("onex.py", "pb2.py", "pb2.pyi")]
    assert run.stdout.splitlines() == [*made, *(f"gen/{name}" for name in MADE)]
    assert alone.returncode == 2
    assert "options.proto is a proto of onex-grpc" in alone.stderr


def test_a_run_that_is_terminated_leaves_nothing(folder: Path) -> None:
    os.mkfifo(folder / "proto/slow.proto")
    (folder / "gen").mkdir()
    command = [sys.executable, "-m", "onex_grpc.cli", "generate", "proto", "-I", "proto"]

    with (
        subprocess.Popen([*command, "--out", "gen"], cwd=folder) as run,
        # Opens when protoc has begun to read.
        (folder / "proto/slow.proto").open("w"),
    ):
        run.terminate()
        assert run.wait(timeout=30) == 128 + signal.SIGTERM

    assert list((folder / "gen").iterdir()) == []


def test_protos_without_a_node_are_an_error(onex: Run, tmp_path: Path) -> None:
    write(tmp_path / "shop/v1/nothing.proto", MESSAGES)

    run = onex(tmp_path, "generate", "shop", "--out", "gen")

    assert run.returncode == 1
    assert "(onex.v1.node)" in run.stderr
    assert not (tmp_path / "gen").exists()


def test_nodes_that_are_no_more_go_away(onex: Run, folder: Path) -> None:
    write(folder / "proto/shop/v1/more.proto", SHOP.replace("Gree", "Leav"))
    onex(folder, "generate", "proto", "--out", "gen")
    assert (folder / "gen/shop/v1/more_onex.py").exists()
    write(folder / "proto/shop/v1/more.proto", MESSAGES)
    write(folder / "gen/shop/v1/mine_onex.py", "# not of the generator\n")

    assert onex(folder, "generate", "proto", "--out", "gen").returncode == 0

    assert not (folder / "gen/shop/v1/more_onex.py").exists()
    assert (folder / "gen/shop/v1/mine_onex.py").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.proto", "--out", "gen"], "error: there is no file nope.proto"),
        (["empty", "--out", "gen"], "error: there is no .proto file in the folder empty"),
        (["README", "--out", "gen"], "error: README does not end in .proto"),
        (["proto", "--out", "README"], "error: --out README: "),
        (["proto", "--out", "README/gen"], "error: --out README/gen: "),
        (["proto", "--out", "gen", "-I", "nope"], "error: -I nope is no folder"),
        (["proto", "--out", "gen", "-I", "empty"], "error: "),
        (["a:b", "--out", "gen"], "error: "),
        (["proto"], "Usage: "),
        (["--out", "gen"], "Usage: "),
    ],
)
def test_what_cannot_be_tried_is_said_in_a_line(
    onex: Run, folder: Path, arguments: list[str], message: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "README").touch()
    write(folder / "a:b/shop/v1/shop.proto", SHOP)

    run = onex(folder, "generate", *arguments)

    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(message)
    assert "Traceback" not in run.stderr
    assert not (folder / "gen").exists()


def test_plugins_need_no_scripts(folder: Path) -> None:
    """As after `pip install --target`, or where packages come by PYTHONPATH."""
    # The interpreter of a venv's maker has none of the venv's scripts beside it.
    python = getattr(sys, "_base_executable", sys.executable)
    path = {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    command = [python, "-m", "onex_grpc.cli", "generate", "proto", "--out", "gen"]

    run = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, timeout=30)

    assert (run.returncode, run.stderr) == (0, "")
    assert list(texts_of(folder / "gen")) == MADE


def test_without_the_extra_it_is_named(folder: Path) -> None:
    program = (
        "import sys; sys.modules['grpc_tools'] = None; sys.argv[0] = 'onex'\n"
        "from onex_grpc.cli import main; main()"
    )

    command = [sys.executable, "-c", program, "generate", "proto", "--out", "gen"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)

    assert run.returncode == 2
    assert "pip install 'onex-grpc[codegen]'" in run.stderr
    assert "Traceback" not in run.stderr
