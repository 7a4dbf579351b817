"""The running sample mesh, called with bytes as any client may, and what it answers."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from google.rpc import error_details_pb2, status_pb2

from servers.supervisor import KINDS, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

ROOT = Path(__file__).parents[3]
HOSTS = {
    "EffectNodeService": "effect",
    "ComputeNodeService": "compute",
    "ReducerNodeService": "reducer",
    "IntentQueueService": "reducer",
    "OrchestratorNodeService": "orchestrator",
    "WorkflowService": "orchestrator",
    "LeaseService": "orchestrator",
    "EventBusService": "orchestrator",
    "NodeService": "compute",
}


class Refused(Exception):
    """A status with its details."""

    code: str
    text: str
    reason: str
    fields: list[str]

    def __init__(self, error: grpc.RpcError) -> None:
        assert isinstance(error, grpc.Call)
        self.code = error.code().name
        self.text = error.details() or ""
        self.reason = ""
        self.fields: list[str] = []
        trailing = {str(name): value for name, value in error.trailing_metadata() or ()}
        details = trailing.get("grpc-status-details-bin", b"")
        assert isinstance(details, bytes)
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for packed in status_pb2.Status.FromString(details).details:
            if packed.Unpack(info):
                self.reason = info.reason
            if packed.Unpack(bad):
                self.fields = [violation.field for violation in bad.field_violations]
        super().__init__(f"{self.code} {self.reason} {self.fields}: {self.text}")


class Served:
    """The running mesh, called as any client may: with bytes."""

    def __init__(self, ports: Sequence[int], state: Path) -> None:
        self.state = state
        self.ports = dict(zip(KINDS, ports, strict=True))
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.channels = {
            kind: grpc.insecure_channel(f"127.0.0.1:{port}", unlimited)
            for kind, port in self.ports.items()
        }

    def call(
        self,
        path: str,
        request: Message | bytes,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        timeout: float = 10.0,
    ) -> bytes:
        """One call; raises Refused."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        channel = self.channels[HOSTS[path.partition("/")[0]]]
        try:
            response: bytes = channel.unary_unary(f"/onex.v1.{path}", bytes, bytes)(
                raw, timeout=timeout, metadata=tuple(metadata)
            )
        except grpc.RpcError as error:
            raise Refused(error) from None
        return response

    def send(self, method: MethodDescriptor, raw: bytes) -> None:
        """One message to a method of any shape; reads what comes back."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        channel = self.channels[HOSTS[method.containing_service.name]]
        try:
            if method.client_streaming:
                list(channel.stream_stream(path, bytes, bytes)(iter([raw]), timeout=10))
            elif method.server_streaming:
                list(channel.unary_stream(path, bytes, bytes)(raw, timeout=10))
            else:
                channel.unary_unary(path, bytes, bytes)(raw, timeout=10)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def faults(self) -> list[str]:
        """The log lines of all servers that tell of an exception."""
        lines = [
            line
            for kind in KINDS
            for line in (self.state / "logs" / f"{kind}.log").read_text().splitlines()
        ]
        return [line for line in lines if "Traceback" in line or not line.startswith("{")]


@contextmanager
def serve_mesh(state: Path) -> Iterator[Served]:
    ports = free_ports(len(KINDS))
    command = (sys.executable, "-m", "servers.serve", "--state", str(state), "--ports")
    with subprocess.Popen(
        (*command, ",".join(map(str, ports))),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "mesh ready\n"
            served = Served(ports, state)
            yield served
            for channel in served.channels.values():
                channel.close()
        finally:
            process.terminate()
            process.communicate(timeout=60)
