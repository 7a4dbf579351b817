"""The registry of a mesh: who serves which node, where, and for how long it is there."""

from onex_grpc.registry.membership import Member, Membership
from onex_grpc.registry.own import OwnMembership
from onex_grpc.registry.registrations import Registrations
from onex_grpc.registry.roll import Roll
from onex_grpc.registry.service import RegistryServicer

__all__ = ["Member", "Membership", "OwnMembership", "Registrations", "RegistryServicer", "Roll"]
