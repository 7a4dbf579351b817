"""From a node class to a running server: settings, health, and the life of the process."""

from onex_grpc.serve.command import serve
from onex_grpc.serve.config import load_settings
from onex_grpc.serve.process import run
from onex_grpc.serve.settings import LimitSettings, Settings, TlsSettings

__all__ = ["LimitSettings", "Settings", "TlsSettings", "load_settings", "run", "serve"]
