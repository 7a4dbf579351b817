"""The client's side of a process's TLS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onex_grpc.rpc.tls import ClientTls

if TYPE_CHECKING:
    from onex_grpc.serve.settings import TlsSettings


def client_tls(tls: TlsSettings) -> ClientTls:
    """The certificates with which a process calls others."""
    if tls.mode == "tls":
        return ClientTls(Path(tls.ca), server_name=tls.server_name)
    return ClientTls(Path(tls.ca), Path(tls.cert), Path(tls.key), tls.server_name)
