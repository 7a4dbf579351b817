"""The store in memory, for tests: the rules of the others, and nothing left after it is closed."""

from onex_grpc.store.memory.store import MemoryStore, open_memory

__all__ = ["MemoryStore", "open_memory"]
