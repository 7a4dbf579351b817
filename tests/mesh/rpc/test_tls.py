"""TLS and mutual TLS over real sockets, and certificates that are replaced while it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import ConfigurationError, NodeUnavailableError
from onex_grpc.rpc import CallRuntime, ClientTls, Mesh, Server, ServerOptions, ServerTls
from onex_grpc.rpc.tls import CertificateFiles
from onex_grpc.telemetry import NO_TELEMETRY
from tests.mesh.authority import Authority
from tests.mesh.rpc.conftest import Stub
from tests.mesh.rpc.probe import Probe, StreamProbe, add_probes, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The mesh's own authority."""
    return Authority(tmp_path, "mesh")


class Secure:
    """A server with mutual TLS and the means to call it."""

    def __init__(self, authority: Authority) -> None:
        certificate, key = authority.issue("server")
        tls = ServerTls(certificate, key, authority.ca)
        self._runtime = CallRuntime(node="compute/x", telemetry=NO_TELEMETRY)
        self.server = Server(self._runtime, ServerOptions(host="0.0.0.0", tls=tls))  # noqa: S104
        add_probes(self.server, Probe(), StreamProbe())
        self.port = 0

    async def call(self, tls: ClientTls | None) -> None:
        """One call over a connection of its own."""
        mesh = Mesh({"compute": f"127.0.0.1:{self.port}"}, tls=tls)
        try:
            await mesh.stub(Stub, "compute").ExecuteCompute(ask("echo"), timeout=10)
        finally:
            await mesh.close()


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[Secure]:
    """The server, started."""
    found = Secure(authority)
    found.port = await found.server.start()
    yield found
    await found.server.drain(0)


def _client(authority: Authority, ca: Path | None = None) -> ClientTls:
    certificate, key = authority.issue("client")
    return ClientTls(ca or authority.ca, certificate, key, server_name="node.test")


async def test_mutual_tls(secure: Secure, authority: Authority) -> None:
    await secure.call(_client(authority))


async def test_client_without_certificate_is_refused(secure: Secure, authority: Authority) -> None:
    with pytest.raises(NodeUnavailableError, match=r"compute at 127\.0\.0\.1"):
        await secure.call(ClientTls(authority.ca, server_name="node.test"))
    with pytest.raises(NodeUnavailableError):
        await secure.call(None)


async def test_client_of_another_authority_is_refused(
    secure: Secure, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    with pytest.raises(NodeUnavailableError):
        await secure.call(_client(stranger, authority.ca))
    with pytest.raises(NodeUnavailableError):
        await secure.call(_client(authority, stranger.ca))


async def test_server_of_another_name_is_refused(secure: Secure, authority: Authority) -> None:
    certificate, key = authority.issue("client")
    with pytest.raises(NodeUnavailableError):
        await secure.call(ClientTls(authority.ca, certificate, key, server_name="other.test"))


async def test_replaced_certificates_are_taken_over(
    secure: Secure, authority: Authority, tmp_path: Path
) -> None:
    client = _client(authority)
    mesh = Mesh({"compute": f"127.0.0.1:{secure.port}"}, tls=client)
    stub = mesh.stub(Stub, "compute")
    await stub.ExecuteCompute(ask("echo"))
    authority_file = authority.ca.read_bytes()
    # A new authority for both sides, under the old names.
    renewed = Authority(tmp_path, "mesh")
    renewed.issue("server")
    old = tmp_path / "old.pem"
    old.write_bytes(authority_file)
    with pytest.raises(NodeUnavailableError):
        await secure.call(_client(authority, old))
    await secure.call(_client(renewed))
    await stub.ExecuteCompute(ask("echo"))
    await mesh.close()


def test_files_are_looked_at_again(authority: Authority) -> None:
    certificate, key = authority.issue("server")
    files = CertificateFiles(certificate, key, authority.ca)
    assert not files.renewed()
    before = files.contents
    authority.issue("server")
    assert files.renewed()
    assert files.contents != before


def test_half_replaced_files_are_left_alone(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.issue("server")
    files = CertificateFiles(certificate, key, authority.ca)
    before = files.contents
    other, _ = authority.issue("other")
    os.replace(other, certificate)
    assert not files.renewed()
    assert files.contents == before
    assert "not taken over" in caplog.text


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server")
    _, other_key = authority.issue("other")
    with pytest.raises(ConfigurationError, match=r"missing\.pem cannot be read"):
        CertificateFiles(tmp_path / "missing.pem", key, None)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        CertificateFiles(certificate, other_key, None)
    with pytest.raises(ConfigurationError, match="both"):
        CertificateFiles(certificate, None, None)
    (tmp_path / "junk.pem").write_text("junk")
    with pytest.raises(ConfigurationError, match=r"junk\.pem"):
        CertificateFiles(certificate, key, tmp_path / "junk.pem")
