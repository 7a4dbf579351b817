"""The queue of intents: the service over a reducer's store, and the worker that takes from it."""

from onex_grpc.intent.backoff import Backoff
from onex_grpc.intent.service import IntentQueue
from onex_grpc.intent.worker import IntentWorker

__all__ = ["Backoff", "IntentQueue", "IntentWorker"]
