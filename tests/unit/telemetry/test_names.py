import pytest

# The only place that looks at the private module: it tells when the conventions move.
from opentelemetry.semconv._incubating.attributes import messaging_attributes, rpc_attributes
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas

from onex_grpc.errors import Status
from onex_grpc.telemetry import is_error, names


def test_names_are_those_of_the_conventions() -> None:
    assert Schemas.V1_44_0.value == names.SCHEMA_URL
    assert names.RPC_METHOD == rpc_attributes.RPC_METHOD
    assert names.RPC_SYSTEM == "rpc.system.name"
    assert names.RPC_STATUS == "rpc.response.status_code"
    assert names.ERROR_TYPE == error_attributes.ERROR_TYPE
    assert names.SERVER_ADDRESS == server_attributes.SERVER_ADDRESS
    assert names.SERVER_PORT == server_attributes.SERVER_PORT
    assert names.MESSAGING_SYSTEM == messaging_attributes.MESSAGING_SYSTEM
    assert names.MESSAGING_OPERATION == messaging_attributes.MESSAGING_OPERATION_NAME
    assert names.MESSAGING_OPERATION_TYPE == messaging_attributes.MESSAGING_OPERATION_TYPE
    assert names.MESSAGING_DESTINATION == messaging_attributes.MESSAGING_DESTINATION_NAME
    assert names.MESSAGING_MESSAGE_ID == messaging_attributes.MESSAGING_MESSAGE_ID


@pytest.mark.parametrize("status", list(Status))
def test_refusals_are_errors_of_the_caller_only(status: Status) -> None:
    own_faults = {
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
    assert is_error("server", status.name) is (status.name in own_faults)
    assert is_error("client", status.name) is (status is not Status.OK)
