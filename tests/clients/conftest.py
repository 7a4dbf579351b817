"""The sample mesh as `make serve` runs it, and clients that know only its .proto files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from servers.supervisor import KINDS, free_ports

ROOT = Path(__file__).parents[2]
NODE_FOLDER = Path(__file__).parent / "node"
BIN = Path(sys.executable).parent
PROTOS = (ROOT / "proto", ROOT / "tests" / "mesh" / "typed" / "protos")

Call = Callable[..., dict[str, object]]


@dataclass(frozen=True, slots=True)
class ServedMesh:
    """A running mesh: the address of each kind, and its state folder."""

    addresses: dict[str, str]
    state: Path

    def log(self, kind: str) -> list[dict[str, object]]:
        """The JSON log lines of one server so far."""
        text = (self.state / "logs" / f"{kind}.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def serve(state: Path, environment: dict[str, str]) -> Iterator[ServedMesh]:
    """`make serve` over a state folder, ready when the block begins."""
    ports = free_ports(len(KINDS))
    command = (sys.executable, "-m", "servers.serve", "--state", str(state))
    process = subprocess.Popen(
        (*command, "--ports", ",".join(map(str, ports))),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline().strip()
            assert line == "mesh ready", process.stderr.read()
            addresses = {kind: f"127.0.0.1:{port}" for kind, port in zip(KINDS, ports, strict=True)}
            yield ServedMesh(addresses, state)
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedMesh]:
    with serve(tmp_path_factory.mktemp("serve"), {}) as served:
        yield served


@pytest.fixture(scope="session")
def node_modules() -> None:
    """The packages that the Node.js clients need."""
    if not (NODE_FOLDER / "node_modules").exists():
        _run(("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"))


@pytest.fixture(scope="session")
def node_call(node_modules: None) -> Call:
    """Runs one command of the Node.js client and returns what it printed."""

    def call(command: str, address: str, *options: str) -> dict[str, object]:
        return _run_json(("node", "client.js", command, address, *options))

    return call


@pytest.fixture(scope="session")
def node_rpc(node_modules: None) -> Call:
    """Calls one rpc of any service by Node.js and returns what it answered."""

    def call(*arguments: str) -> dict[str, object]:
        return _run_json(("node", "call.js", *arguments))

    return call


@pytest.fixture(scope="session")
def node_script(node_modules: None) -> Call:
    """Runs one of the Node.js programs and returns what it printed."""

    def run(*command: str) -> dict[str, object]:
        return _run_json(("node", *command))

    return run


def _run(command: Sequence[str]) -> str:
    program = str(BIN / command[0])
    done = subprocess.run(
        (program, *command[1:]),
        cwd=NODE_FOLDER,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, re.sub(r"\s+", " ", done.stderr)
    return done.stdout


def _run_json(command: Sequence[str]) -> dict[str, object]:
    protos = (argument for folder in PROTOS for argument in ("--protos", str(folder)))
    return cast("dict[str, object]", json.loads(_run((*command, *protos))))


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of a mesh: its authority, and one certificate for all of its nodes."""

    ca: Path
    cert: Path
    key: Path


def _issue(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(loopback, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A throw-away authority and a certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificates")
    ca_key, node_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _issue("test authority", ca_key, None, ca_key)
    node = _issue("node", node_key, ca, ca_key)
    files = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.cert.write_bytes(node.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        node_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.fixture(scope="session")
def mtls_mesh(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedMesh]:
    tls = {
        "mode": "mtls",
        "cert": str(certificates.cert),
        "key": str(certificates.key),
        "ca": str(certificates.ca),
    }
    with serve(tmp_path_factory.mktemp("mtls"), {"ONEX_TLS": json.dumps(tls)}) as served:
        yield served
