"""A contract has one fingerprint wherever it is made, and another contract has another one."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from onex.v1 import options_pb2
from onex_grpc.contract.fingerprint import Fingerprints, fingerprint_of
from onex_grpc.errors import ConfigurationError
from orders.v1 import desk_pb2, fulfilment_pb2, order_service_pb2, pricing_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import FileDescriptor

ROOT: Final = Path(__file__).parents[3]
SAMPLE: Final = {
    "OrderService": order_service_pb2.DESCRIPTOR,
    "DeskService": desk_pb2.DESCRIPTOR,
    "PricingService": pricing_pb2.DESCRIPTOR,
    "FulfilmentService": fulfilment_pb2.DESCRIPTOR,
}
PROTO: Final = """
syntax = "proto3";
package t.v1;
import "onex/v1/options.proto";
message State { Status status = 1; repeated Line lines = 2; }
message Line {
  string text = 1;
  optional int32 count = 2;
  oneof size { bool small = 3; bool large = 4; }
}
message Far { string text = 1; }
message GoRequest { string key = 1; map<string, Line> named = 2; }
message GoResponse {}
enum Status { STATUS_UNSPECIFIED = 0; STATUS_ON = 1; }
service GoService {
  option (onex.v1.node) = {
    type: NODE_TYPE_REDUCER version: "1.2.3" state: "t.v1.State" initial: "STATUS_ON" key: "key"
    emits: ["t.v1.B/One", "t.v1.A/Two"]
  };
  rpc Go(GoRequest) returns (GoResponse) {
    option (onex.v1.transition) = {
      sources: "STATUS_ON" targets: "STATUS_ON" guard: "state.status == 1"
    };
    option (onex.v1.operation) = {timeout: {seconds: 3}};
  }
  rpc Stay(GoRequest) returns (GoResponse);
}
service OtherService { option (onex.v1.node) = {version: "9.0.0"}; }
"""


def protoc(proto: Path, *include: Path) -> descriptor_pb2.FileDescriptorSet:
    out = proto.with_suffix(".binpb")
    own = files("grpc_tools") / "_proto"
    paths = [f"-I{path}" for path in (*include, ROOT / "proto", own)]
    command = [sys.executable, "-m", "grpc_tools.protoc", *paths, "--include_imports"]
    subprocess.run([*command, f"--descriptor_set_out={out}", proto], check=True, timeout=60)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("proto")
    (folder / "go.proto").write_text(PROTO)
    return protoc(folder / "go.proto", folder).SerializeToString()


@cache
def of_bytes(image: bytes) -> str:
    return Fingerprints(descriptor_pb2.FileDescriptorSet.FromString(image).file).of(
        "t.v1.GoService"
    )


@pytest.mark.parametrize("name", SAMPLE)
def test_protoc_and_the_generated_module_agree(name: str, tmp_path: Path) -> None:
    file = SAMPLE[name]
    copy = tmp_path / file.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / "proto" / file.name).read_bytes())

    made = Fingerprints(protoc(copy, tmp_path).file).of(f"orders.v1.{name}")

    assert made == fingerprint_of(file.services_by_name[name])
    assert re.fullmatch(r"1\.0\.0:[0-9a-f]{12}", made)


def test_buf_gives_the_same_although_it_says_more(tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    buf = Path(sys.executable).parent / "buf"
    subprocess.run([buf, "build", "-o", image], cwd=ROOT, check=True, timeout=60)
    made = Fingerprints(descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file)

    assert {name: made.of(f"orders.v1.{name}") for name in SAMPLE} == {
        name: fingerprint_of(file.services_by_name[name]) for name, file in SAMPLE.items()
    }


def test_every_service_has_its_own() -> None:
    assert len({fingerprint_of(f.services_by_name[n]) for n, f in SAMPLE.items()}) == len(SAMPLE)


def test_options_that_were_parsed_as_unknown_bytes_count_alike(compiled: bytes) -> None:
    """As protoc's request is, where it is parsed before the options are imported."""
    program = (
        "import sys\n"
        "from google.protobuf import descriptor_pb2\n"
        "files = descriptor_pb2.FileDescriptorSet.FromString(sys.stdin.buffer.read()).file\n"
        "from onex_grpc.contract.fingerprint import Fingerprints\n"
        "print(Fingerprints(files).of('t.v1.GoService'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=compiled, stdout=-1, check=True, timeout=60
    )

    assert done.stdout.decode().strip() == of_bytes(compiled)


def test_another_pool_gives_the_same(compiled: bytes) -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled).file:
        pool.Add(file)

    found: FileDescriptor = pool.FindFileByName("go.proto")

    assert fingerprint_of(found.services_by_name["GoService"]) == of_bytes(compiled)


Edit: TypeAlias = "Callable[[descriptor_pb2.FileDescriptorProto], object]"


def node(file: descriptor_pb2.FileDescriptorProto) -> options_pb2.NodeOptions:
    return file.service[0].options.Extensions[options_pb2.node]


def edited(image: bytes, edit: Edit) -> str:
    whole = descriptor_pb2.FileDescriptorSet.FromString(image)
    edit(whole.file[-1])
    return of_bytes(whole.SerializeToString())


def way(file: descriptor_pb2.FileDescriptorProto) -> options_pb2.TransitionOptions:
    return file.service[0].method[0].options.Extensions[options_pb2.transition][0]


def operation(file: descriptor_pb2.FileDescriptorProto) -> options_pb2.OperationOptions:
    return file.service[0].method[1].options.Extensions[options_pb2.operation]


PRESENT: Final = descriptor_pb2.FieldDescriptorProto(name="count", number=2)
CHANGES: Final[dict[str, Edit]] = {
    "version": lambda f: setattr(node(f), "version", "1.2.4"),
    "kind": lambda f: setattr(node(f), "type", 1),
    "node name": lambda f: setattr(node(f), "name", "other"),
    "key": lambda f: setattr(node(f), "key", "name"),
    "an rpc that is emitted": lambda f: node(f).emits.append("t.v1.C/Three"),
    "a dependency": lambda f: node(f).depends_on.append("t.v1.X"),
    "initial state": lambda f: setattr(node(f), "initial", "STATUS_UNSPECIFIED"),
    "guard": lambda f: setattr(way(f), "guard", "true"),
    "target": lambda f: way(f).targets.append("STATUS_UNSPECIFIED"),
    "timeout": lambda f: setattr(operation(f).timeout, "seconds", 4),
    "idempotent": lambda f: setattr(operation(f), "idempotent", True),
    "name of an rpc": lambda f: setattr(f.service[0].method[1], "name", "Leave"),
    "an rpc less": lambda f: f.service[0].method.pop(),
    "response streaming": lambda f: setattr(f.service[0].method[0], "server_streaming", True),
    "request streaming": lambda f: setattr(f.service[0].method[0], "client_streaming", True),
    "request type": lambda f: setattr(f.service[0].method[0], "input_type", ".t.v1.Far"),
    "number of a field": lambda f: setattr(f.message_type[3].field[0], "number", 9),
    "name of a field": lambda f: setattr(f.message_type[3].field[0], "name", "id"),
    "type of a field": lambda f: setattr(f.message_type[3].field[0], "type", 12),
    "repetition of a field": lambda f: setattr(f.message_type[3].field[0], "label", 3),
    "a field of the state": lambda f: f.message_type[0].field.pop(),
    "presence of a field below": lambda f: f.message_type[1].field[1].CopyFrom(PRESENT),
    "name of a oneof": lambda f: setattr(f.message_type[1].oneof_decl[0], "name", "bigness"),
    "type of a map's values": lambda f: setattr(
        f.message_type[3].nested_type[0].field[1], "type_name", ".t.v1.Far"
    ),
    "a value of an enum": lambda f: f.enum_type[0].value.add(name="STATUS_OFF", number=2),
    "number of a value": lambda f: setattr(f.enum_type[0].value[1], "number", 5),
}
SAME: Final[dict[str, Edit]] = {
    "nothing": lambda f: None,
    "file name": lambda f: setattr(f, "name", "elsewhere/go.proto"),
    "options of others": lambda f: setattr(f.options, "java_package", "com.example"),
    "deprecation": lambda f: setattr(f.service[0].method[0].options, "deprecated", True),
    "JSON names": lambda f: setattr(f.message_type[3].field[0], "json_name", "KEY"),
    "comments": lambda f: f.source_code_info.location.add(leading_comments=" c"),
    "a message that is not reached": lambda f: f.message_type[2].field.pop(),
    "another service": lambda f: f.service.pop(),
    "order of rpcs": lambda f: f.service[0].method.reverse(),
    "order of fields": lambda f: f.message_type[0].field.reverse(),
    "order of what is emitted": lambda f: node(f).emits.reverse(),
    "numbers kept free": lambda f: f.message_type[0].reserved_range.add(start=90, end=99),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_changes_with(change: str, compiled: bytes) -> None:
    assert edited(compiled, CHANGES[change]) != of_bytes(compiled)


def test_no_two_changes_give_the_same(compiled: bytes) -> None:
    assert len({edited(compiled, edit) for edit in CHANGES.values()}) == len(CHANGES)


@pytest.mark.parametrize("change", SAME)
def test_it_stays_with(change: str, compiled: bytes) -> None:
    assert edited(compiled, SAME[change]) == of_bytes(compiled)


@pytest.mark.parametrize(
    ("head", "optional"),
    [('syntax = "proto2";', "optional "), ('edition = "2023";', "")],
)
def test_the_same_in_another_syntax(head: str, optional: str, tmp_path: Path) -> None:
    """A move to editions that means the same changes nothing."""
    body = """
    package t.v1;
    import "onex/v1/options.proto";
    message A { %s string key = 1; repeated A more = 2; oneof which { bool yes = 3; } }
    service GoService {
      option (onex.v1.node) = {type: NODE_TYPE_EFFECT version: "1.2.3"};
      rpc Go(A) returns (A);
    }
    """
    images = []
    for name, text in {
        "a": 'syntax = "proto3";' + body % "optional",
        "b": head + body % optional,
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "go.proto").write_text(text)
        images.append(protoc(tmp_path / name / "go.proto", tmp_path / name))

    assert len({of_bytes(image.SerializeToString()) for image in images}) == 1


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ("t.v1.Nobody", "t.v1.Nobody is in none of the files"),
        ("onex.v1.Plain", "has no option"),
        ("t.v1.LostService", "needs t.v1.Missing, which is in none"),
    ],
)
def test_what_has_none_says_why(service: str, says: str, compiled: bytes) -> None:
    files = list(descriptor_pb2.FileDescriptorSet.FromString(compiled).file)
    files[0].package = "onex.v1"
    files[0].service.add(name="Plain")
    lost = files[-1].service.add(name="LostService")
    lost.options.Extensions[options_pb2.node].version = "1.0.0"
    lost.method.add(name="Go", input_type=".t.v1.Missing", output_type=".t.v1.Missing")

    with pytest.raises(ConfigurationError, match=says):
        Fingerprints(files).of(service)
