"""Constraints of buf.validate: checked at both doors and of intents, never silently left out."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from onex.v1 import compute_pb2, compute_pb2_grpc, effect_pb2, effect_pb2_grpc, intent_pb2
from onex_grpc.contract.data import pack
from onex_grpc.errors import ConfigurationError, ContractValidationError
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess

if TYPE_CHECKING:
    from types import ModuleType

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
SOURCE: Final = "checked/v1/checked.proto"
NODES: Final = """
from checked.v1 import checked_onex, checked_pb2


class Scale(checked_onex.ScaleCompute):
    def weigh(self, request):
        return checked_pb2.WeighResponse()

    async def weigh_all(self, requests):
        async for request in requests:
            pass
        return checked_pb2.WeighAllResponse()


class Guesses(checked_onex.GuessCompute):
    def guess(self, request):
        return checked_pb2.GuessResponse()


class Parcels(checked_onex.ParcelEffect):
    async def ship(self, request, call):
        print("shipped", flush=True)
        return checked_pb2.ShipResponse()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with her generated code and her nodes."""
    folder = tmp_path_factory.mktemp("checked")
    (folder / "checked_nodes.py").write_text(NODES)
    descriptors = folder / "validate.binpb"
    descriptors.write_bytes(_validate_proto().SerializeToString())
    (folder / "buf/validate").mkdir(parents=True)
    includes = (f"-I{HERE / 'constrained'}", f"-I{ROOT / 'proto'}")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={descriptors}"]
    plugin = Path(sys.executable).with_name("protoc-gen-onex")
    messages_to = f"--python_out={folder}"
    nodes_to = (f"--plugin=protoc-gen-onex={plugin}", f"--onex_out={folder}")
    subprocess.run([*command, *includes, messages_to, *nodes_to, SOURCE], check=True, cwd=folder)
    subprocess.run([*command, messages_to, "buf/validate/validate.proto"], check=True, cwd=folder)
    return folder


def _validate_proto() -> descriptor_pb2.FileDescriptorSet:
    """What protovalidate itself was built for: its wheel brings the proto as a descriptor only."""
    validate = importlib.import_module("protovalidate._gen.buf.validate.validate_pb")
    found = descriptor_pb2.FileDescriptorSet()
    for name in ("descriptor", "duration", "field_mask", "timestamp"):
        importlib.import_module(f"google.protobuf.{name}_pb2")
        known = descriptor_pool.Default().FindFileByName(f"google/protobuf/{name}.proto")
        found.file.append(descriptor_pb2.FileDescriptorProto.FromString(known.serialized_pb))
    found.file.append(
        descriptor_pb2.FileDescriptorProto.FromString(validate.desc().proto.to_binary())
    )
    return found


@pytest.fixture
def path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(folder))
    return os.pathsep.join(str(p) for p in (folder, ROOT, ROOT / "generated"))


def process(node: str, folder: Path, path: str) -> NodeProcess:
    environment = {"PYTHONPATH": path}
    return NodeProcess(f"checked_nodes:{node}", folder=folder, environment=environment)


def messages() -> ModuleType:
    return importlib.import_module("checked.v1.checked_pb2")


def clients() -> ModuleType:
    return importlib.import_module("checked.v1.checked_onex")


def faults(error: ContractValidationError) -> dict[str, str]:
    return {each.field: each.description for each in error.violations}


def bad_order() -> Any:
    made = messages().WeighRequest()
    made.lines.add(count=1)
    made.lines.add(count=11)
    made.named["a"].count = 0
    return made


ONE_TO_TEN: Final = "must be greater than or equal to 1 and less than or equal to 10"
FAULTS: Final = {
    "id": "must be at least 1 characters",
    "lines[1].count": ONE_TO_TEN,
    "named['a'].count": ONE_TO_TEN,
}


async def test_calculations_get_only_what_the_constraints_allow(folder: Path, path: str) -> None:
    async with process("Scale", folder, path) as scale:
        mesh = Mesh({"compute": scale.address})
        client = clients().ScaleClient(mesh)
        assert await client.weigh(messages().WeighRequest(id="x")) == messages().WeighResponse()
        with pytest.raises(ContractValidationError) as typed:
            await client.weigh(bad_order())
        assert faults(typed.value) == FAULTS
        contract = compute_pb2.ModelContractCompute(input_data=pack(bad_order()))
        contract.algorithm_config.algorithm_type = "checked.v1.ScaleService/Weigh"
        generic = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        with pytest.raises(ContractValidationError) as plain:
            await generic.ExecuteCompute(contract)
        assert faults(plain.value) == {f"input_data.{k}": v for k, v in FAULTS.items()}
        lines = [messages().WeighAllRequest(line={"count": count}) for count in (1, 11)]
        assert await client.weigh_all(lines[:1]) == messages().WeighAllResponse()
        with pytest.raises(ContractValidationError) as streamed:
            await client.weigh_all(lines)
        assert faults(streamed.value) == {"line.count": ONE_TO_TEN}
        await mesh.close()


async def test_effects_and_intents_are_checked_before_anything_is_done(
    folder: Path, path: str
) -> None:
    async with process("Parcels", folder, path) as parcels:
        mesh = Mesh({"effect": parcels.address})
        client = clients().ParcelClient(mesh)
        with pytest.raises(ContractValidationError) as typed:
            await client.ship(messages().ShipRequest())
        assert faults(typed.value) == {"line": "value is required"}
        generic = mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")
        contract = effect_pb2.ModelContractEffect()
        contract.io_operation_config.operation.custom.Pack(messages().ShipRequest())
        with pytest.raises(ContractValidationError) as plain:
            await generic.ExecuteEffect(contract)
        assert list(faults(plain.value)) == ["io_operation_config.operation.custom.line"]
        intent = intent_pb2.ModelIntent(intent_id=str(uuid.uuid4()))
        intent.payload.CopyFrom(contract.io_operation_config.operation)
        request = effect_pb2.ExecuteIntentsRequest(intents=[intent])
        [result] = [each async for each in generic.ExecuteIntents(request)]
        assert result.status == intent_pb2.INTENT_STATUS_FAILED
        assert "value is required" in result.error.message
        await client.ship(messages().ShipRequest(line={"count": 1}))
        await parcels.output_line("shipped")
        await mesh.close()


@pytest.mark.parametrize("state", ["absent", "old"])
async def test_a_node_does_not_start_unchecked(
    folder: Path, path: str, tmp_path: Path, state: str
) -> None:
    if state == "absent":
        (tmp_path / "protovalidate.py").write_text("raise ImportError('not there')")
    else:
        (tmp_path / "protovalidate-2.0.0.dist-info").mkdir()
        about = tmp_path / "protovalidate-2.0.0.dist-info/METADATA"
        about.write_text("Metadata-Version: 2.1\nName: protovalidate\nVersion: 2.0.0\n")
    blocked = process("Scale", folder, os.pathsep.join((str(tmp_path), path)))
    with pytest.raises(ConfigurationError, match=r"pip install 'onex-grpc\[validate\]'"):
        await blocked.start()


async def test_constraints_that_do_not_compile_are_seen_at_the_start(
    folder: Path, path: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"constraints of checked\.v1\.GuessRequest"):
        await process("Guesses", folder, path).start()
