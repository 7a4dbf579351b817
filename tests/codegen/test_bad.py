"""Each proto in bad/ says in its first lines how it is refused: `// expect: <line>`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

from onex_grpc.codegen.plugin import generate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ROOT: Final = Path(__file__).parents[2]
_BAD: Final = Path(__file__).parent / "bad"
_EXPECT: Final = "// expect: "
_FILES: Final = sorted(str(path.relative_to(_BAD)) for path in _BAD.rglob("*.proto"))
_PLUGIN: Final = Path(sys.executable).with_name("protoc-gen-onex")

Files = dict[str, descriptor_pb2.FileDescriptorProto]


def protoc(*arguments: str, include: Path = _BAD) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--plugin=protoc-gen-onex={_PLUGIN}"),
            *(f"-I{include}", f"-I{_ROOT / 'proto'}", *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def expected(file: str) -> Sequence[str]:
    lines = (_BAD / file).read_text().splitlines()
    return [line.removeprefix(_EXPECT) for line in lines if line.startswith(_EXPECT)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """All bad protos and what they import, compiled by one run of protoc."""
    out = tmp_path_factory.mktemp("bad") / "set.bin"
    run = protoc("--include_imports", "--include_source_info", f"-o{out}", *_FILES)
    assert run.returncode == 0, run.stderr
    read = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return {file.name: file for file in read.file}


def request_for(files: Files, name: str) -> plugin_pb2.CodeGeneratorRequest:
    wanted = dict.fromkeys(imports(files, name))
    proto_files = [file for file in files.values() if file.name in wanted]
    return plugin_pb2.CodeGeneratorRequest(file_to_generate=[name], proto_file=proto_files)


def imports(files: Mapping[str, descriptor_pb2.FileDescriptorProto], name: str) -> Iterator[str]:
    yield name
    for imported in files[name].dependency:
        yield from imports(files, imported)


@pytest.mark.parametrize("file", _FILES)
def test_a_bad_proto_is_refused_with_file_line_and_remedy(files: Files, file: str) -> None:
    said = generate(request_for(files, file))
    assert said.error.splitlines() == expected(file) != []
    assert not said.file


@pytest.mark.parametrize("file", ["state_unreachable.proto", "many_at_once.proto"])
def test_protoc_prints_every_mistake_and_exits_with_1(tmp_path: Path, file: str) -> None:
    run = protoc(f"--onex_out={tmp_path}", file)
    assert run.returncode == 1
    assert run.stderr.removeprefix("--onex_out: ").splitlines() == expected(file)
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_option_has_is_refused_by_protoc_itself(tmp_path: Path) -> None:
    run = compile_with(tmp_path, 'type: NODE_TYPE_COMPUTE version: "1.0.0" colour: "red"')
    assert run.returncode == 1
    assert "colour" in run.stderr


def test_options_of_a_newer_version_are_refused_not_ignored(tmp_path: Path) -> None:
    newer = (_ROOT / "proto" / "onex" / "v1" / "options.proto").read_text()
    newer = newer.replace("  string key = 9;", "  string key = 9;\n  string colour = 99;")
    newer = newer.replace("  string guard = 3;", "  string guard = 3;\n  string colour = 99;")
    newer = newer.replace("  bool in_thread = 5;", "  bool in_thread = 5;\n  string colour = 99;")
    newer = newer.replace("= 51231;", "= 51231;\n  string shade = 51239;")
    (tmp_path / "onex" / "v1").mkdir(parents=True)
    (tmp_path / "onex" / "v1" / "options.proto").write_text(newer)
    run = compile_with(
        tmp_path,
        'type: NODE_TYPE_COMPUTE version: "1.0.0" colour: "red"',
        'option (onex.v1.operation) = {colour: "red"};',
        'option (onex.v1.shade) = "dark";',
    )
    remedy = "generate with the onex-grpc whose options.proto the contract is written against"
    assert run.returncode == 1
    assert run.stderr.removeprefix("--onex_out: ").splitlines() == [
        "ask.proto:6: AskService has the field 99 of (onex.v1.node), which this version does not"
        f" know; {remedy}",
        "ask.proto:7: AskService.Ask has the option (onex.v1.shade), which this version does not"
        f" know; {remedy}",
        "ask.proto:8: AskService.Ask has the field 99 of (onex.v1.operation), which this version"
        f" does not know; {remedy}",
    ]


def compile_with(folder: Path, node: str, *of_rpc: str) -> subprocess.CompletedProcess[str]:
    (folder / "ask.proto").write_text(
        "\n".join(
            [
                'syntax = "proto3";',
                "package ask.v1;",
                'import "onex/v1/options.proto";',
                "message AskRequest {}",
                "service AskService {",
                f"  option (onex.v1.node) = {{{node}}};",
                "  rpc Ask(AskRequest) returns (AskRequest) {",
                *of_rpc,
                "  }",
                "}",
            ]
        )
    )
    return protoc(f"--onex_out={folder}", "ask.proto", include=folder)


NODE = """
syntax = "proto3";
package {0}.v1;
import "onex/v1/options.proto";
message AskRequest {{}}
service {0}Service {{
  option (onex.v1.node) = {{type: NODE_TYPE_COMPUTE version: "1.0.0"}};
  rpc Ask(AskRequest) returns (AskRequest);
}}
"""
PLAIN = """
syntax = "proto3";
package {0}.v1;
import "onex/v1/options.proto";
message AskRequest {{}}
service {0}Service {{
  rpc Ask(AskRequest) returns (AskRequest);
}}
"""
MESSAGE = """
syntax = "proto3";
package {0}.v1;
message Nothing {{}}
"""


def run_together(folder: Path, **protos: str) -> subprocess.CompletedProcess[str]:
    for name, text in protos.items():
        (folder / f"{name}.proto").write_text(text.format(name))
    files = [f"{name}.proto" for name in protos]
    return protoc(f"--onex_out={folder}", *files, include=folder)


def test_a_file_with_options_and_services_but_no_node_is_refused(tmp_path: Path) -> None:
    run = run_together(tmp_path, one=NODE, two=PLAIN, three=MESSAGE)
    assert run.returncode == 1
    assert "two.proto: imports onex/v1/options.proto, but no service of it is a node;" in run.stderr
    assert "one.proto:" not in run.stderr
    assert "three.proto:" not in run.stderr


def test_a_run_without_any_node_is_refused_loudly(tmp_path: Path) -> None:
    run = run_together(tmp_path, one=MESSAGE, two=PLAIN)
    assert run.returncode == 1
    said = "one.proto: no service of it and of 1 other file is a node, so there is nothing"
    assert said in run.stderr


def test_files_without_services_need_no_node(tmp_path: Path) -> None:
    run = run_together(tmp_path, one=NODE, two=MESSAGE)
    assert (run.stderr, run.returncode) == ("", 0)


def test_two_files_of_one_module_are_refused(tmp_path: Path) -> None:
    (tmp_path / "my-a.proto").write_text(NODE.format("one"))
    (tmp_path / "my_a.proto").write_text(NODE.format("two"))
    run = protoc(f"--onex_out={tmp_path}", "my-a.proto", "my_a.proto", include=tmp_path)
    assert run.returncode == 1
    assert "my_a.proto: its Python module would be that of my-a.proto;" in run.stderr


def test_a_node_of_an_imported_file_counts(tmp_path: Path) -> None:
    (tmp_path / "one.proto").write_text(NODE.format("one"))
    two = NODE.format("two").replace('"1.0.0"', '"1.0.0" name: "one"')
    (tmp_path / "two.proto").write_text(two.replace("import", 'import "one.proto";\nimport', 1))
    run = protoc(f"--onex_out={tmp_path}", "two.proto", include=tmp_path)
    assert run.returncode == 1
    said = "twoService is the node compute/one, and so is one.v1.oneService (one.proto:7);"
    assert f"two.proto:8: {said}" in run.stderr


def test_what_is_imported_must_be_importable_in_python(tmp_path: Path) -> None:
    (tmp_path / "2fa").mkdir()
    effect = NODE.format("desk").replace("COMPUTE", "EFFECT")
    (tmp_path / "2fa" / "desk.proto").write_text(effect)
    flow = NODE.format("flow").replace("import", 'import "2fa/desk.proto";\nimport', 1)
    flow = flow.replace("COMPUTE", 'ORCHESTRATOR key: "id" depends_on: ["desk.v1.deskService"]')
    (tmp_path / "flow.proto").write_text(flow.replace("AskRequest {}", "AskRequest {string id=1;}"))
    run = protoc(f"--onex_out={tmp_path}", "flow.proto", include=tmp_path)
    assert run.returncode == 1
    # The first line is protoc's warning that no message of the import is used.
    assert run.stderr.splitlines()[1:] == [
        "--onex_out: flow.proto:8: flowService depends on desk.v1.deskService, which is of"
        " 2fa/desk.proto: '2fa' is not a name in Python; rename it"
    ]
