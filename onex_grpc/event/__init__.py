"""The mesh's event log: the service over a store, and the client that publishes and follows."""

from onex_grpc.event.client import EventLog
from onex_grpc.event.service import EventBus

__all__ = ["EventBus", "EventLog"]
