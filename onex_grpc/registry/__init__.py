"""The registry of a mesh: who serves which node, where, and for how long it is there."""

from onex_grpc.registry.membership import Member, Membership
from onex_grpc.registry.own import OwnMembership
from onex_grpc.registry.registry import Registry

__all__ = ["Member", "Membership", "OwnMembership", "Registry"]
