"""TLS and mutual TLS of both sides, from files that may be replaced while the process runs."""

from __future__ import annotations

import errno
import logging
import os
import ssl
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import grpc

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The certificate that a server shows, and the authority that clients must be certified by.

    Attributes:
        certificate: PEM file of the server's certificate chain.
        key: PEM file of its private key.
        client_ca: PEM file of the clients' authority; with it, clients without a certificate of
            that authority are refused (mutual TLS); None accepts all clients.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The authority that servers must be certified by, and the certificate that a client shows.

    Attributes:
        ca: PEM file of the servers' authority.
        certificate: PEM file of the client's certificate chain; None shows none.
        key: PEM file of its private key; needed with a certificate.
        server_name: the name that servers' certificates must have; empty for that of the address.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""


class CertificateFiles:
    """PEM files that belong together, and whether they were replaced.

    Raises:
        ConfigurationError: at once, for files that cannot be read or do not fit each other.
    """

    def __init__(self, certificate: Path | None, key: Path | None, ca: Path | None) -> None:
        if (certificate is None) != (key is None):
            raise ConfigurationError("tls needs a certificate and its key; give both, or neither")
        self._certificate = certificate
        self._key = key
        self._ca = ca
        self._paths: Final = [p for p in (certificate, key, ca) if p is not None]
        self._stamp = self._look()
        self._check()
        self.contents = self._read()

    def renewed(self) -> bool:
        """Whether the files were replaced, and fit; then `contents` is new. What is half replaced
        or broken is left alone until it is whole, so that a running process keeps its identity.
        """
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            self._check()
            self.contents = self._read()
        except ConfigurationError as error:
            _log.warning("the TLS files are not taken over: %s", error.message)
            return False
        self._stamp = stamp
        _log.info("TLS files were replaced and taken over: %s", ", ".join(map(str, self._paths)))
        return True

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        try:
            stats = [_stat(path) for path in self._paths]
        except OSError as error:
            raise _unreadable(error) from error
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)

    def _check(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            if self._certificate is not None and self._key is not None:
                context.load_cert_chain(self._certificate, self._key, password=_refuse_password)
            if self._ca is not None:
                context.load_verify_locations(self._ca)
        except ssl.SSLError as error:
            files = ", ".join(map(str, self._paths))
            raise ConfigurationError(
                f"the TLS files {files} cannot be used ({error.reason or 'not PEM'}); give a PEM "
                "certificate, its own unencrypted key, and the authority's certificate"
            ) from error
        except OSError as error:
            raise _unreadable(error) from error

    def _read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Certificate chain, key and authority."""
        try:
            certificate, key, ca = (
                None if path is None else path.read_bytes()
                for path in (self._certificate, self._key, self._ca)
            )
        except OSError as error:
            raise _unreadable(error) from error
        return certificate, key, ca


def _stat(path: Path) -> os.stat_result:
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return found


def _refuse_password() -> str:
    return ""


def _unreadable(error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the TLS file {error.filename} cannot be read: {error.strerror}")


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Credentials that look at their files with every new connection.

    Raises:
        ConfigurationError: for files that cannot be used.
    """
    files = CertificateFiles(tls.certificate, tls.key, tls.client_ca)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        return _server_configuration(files) if files.renewed() else None

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(files),
        cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch),
        require_client_authentication=tls.client_ca is not None,
    )


def _server_configuration(files: CertificateFiles) -> grpc.ServerCertificateConfiguration:
    certificate, key, ca = files.contents
    return grpc.ssl_server_certificate_configuration([(key or b"", certificate or b"")], ca)


def channel_credentials(files: CertificateFiles) -> grpc.ChannelCredentials:
    """Credentials of a client with what its files now hold."""
    certificate, key, ca = files.contents
    return grpc.ssl_channel_credentials(ca, key, certificate)
