"""Whether a generated module still says what its proto says."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool

from onex_grpc.contract.fingerprint import fingerprint_of
from onex_grpc.contract.proto_file import module_of
from onex_grpc.errors import ConfigurationError
from onex_grpc.typed.api import command_for

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from onex_grpc.typed.contract import Contract


def check_fresh(contract: Contract) -> None:
    """Compares a contract with the messages that are loaded.

    Raises:
        ConfigurationError: when the proto was changed and only one of both modules was generated
            anew; names the command to run.
    """
    try:
        found = fingerprint_of(_service(contract))
    except (KeyError, ImportError, ConfigurationError) as fault:
        raise ConfigurationError(f"{_stale(contract)} ({fault})") from fault
    if found != contract.fingerprint:
        raise ConfigurationError(
            f"{_stale(contract)} (its fingerprint is {contract.fingerprint}, theirs {found})"
        )


def _service(contract: Contract) -> ServiceDescriptor:
    pool = descriptor_pool.Default()
    try:
        return pool.FindServiceByName(contract.service)
    except KeyError:
        # A proto whose messages are all another's is not loaded with them.
        importlib.import_module(module_of(contract.source, "_pb2"))
        return pool.FindServiceByName(contract.service)


def _stale(contract: Contract) -> str:
    return (
        f"the generated contract of {contract.service} does not fit the messages generated from "
        f"{contract.source}; run `{command_for(contract.source)}`"
    )
