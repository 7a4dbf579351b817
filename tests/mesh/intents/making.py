"""Intents for the nodes of these tests, and the settings of their processes."""

from __future__ import annotations

import socket
from uuid import uuid4

from google.protobuf import wrappers_pb2

from onex.v1 import common_pb2, effect_pb2, intent_pb2, operation_pb2, reducer_pb2
from onex_grpc.contract import data

CORRELATION = "7f3c1c9e-2a8e-4a55-9d3c-0a8f6f8d2b11"
PLACE = "tests.mesh.intents.nodes"
_SETTINGS = """
queues = ["reducer"]

[addresses]
effect = "127.0.0.1:{effect}"
reducer = "127.0.0.1:{reducer}"
orchestrator = "127.0.0.1:{orchestrator}"

[targets.journal]
kind = "sqlite"
path = "journal.db"
schema = "journal.sql"
[targets.journal.tables]
journal = ["id"]

[targets.mail]
kind = "maildir"
path = "mail"
sender = "shop@example.invalid"
recipients = '.*@example\\.invalid'
[targets.mail.templates.placed]
subject = "$id"
body = "$id\\n"

[targets.events]
kind = "event_log"
topic = "things"
"""


def settings_text(ports: dict[str, int]) -> str:
    """An onex.toml for all three processes."""
    return _SETTINGS.format(**ports)


def free_ports(*names: str) -> dict[str, int]:
    """A free port for each name."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: int(opened.getsockname()[1]) for name, opened in sockets.items()}
    for opened in sockets.values():
        opened.close()
    return ports


def _intent(
    target: str,
    kind: intent_pb2.IntentType.ValueType,
    payload: operation_pb2.EffectOperation,
    priority: int = 3,
    retries: int = 8,
) -> intent_pb2.ModelIntent:
    policy = common_pb2.RetryPolicy(max_retries=retries)
    policy.initial_backoff.FromMilliseconds(20)
    return intent_pb2.ModelIntent(
        intent_id=str(uuid4()),
        intent_type=kind,
        target=target,
        payload=payload,
        correlation_id=CORRELATION,
        priority=intent_pb2.IntentPriority.ValueType(priority),
        retry_policy=policy,
    )


def journal(name: str, priority: int = 3) -> intent_pb2.ModelIntent:
    """Adds a row to a table without a unique index."""
    row = operation_pb2.Row(columns={"id": common_pb2.Scalar(string_value=name)})
    insert = operation_pb2.DatabaseInsert(table="journal", row=row)
    statement = operation_pb2.DatabaseStatement(insert=insert)
    database = operation_pb2.DatabaseOperation(statements=[statement])
    operation = operation_pb2.EffectOperation(database=database)
    return _intent("journal", intent_pb2.INTENT_TYPE_DATABASE_WRITE, operation, priority)


def mail(name: str) -> intent_pb2.ModelIntent:
    """Sends a message with a name as its subject."""
    notification = operation_pb2.Notification(
        template="placed",
        to="customer@example.invalid",
        data={"id": common_pb2.Scalar(string_value=name)},
    )
    operation = operation_pb2.EffectOperation(notification=notification)
    return _intent("mail", intent_pb2.INTENT_TYPE_NOTIFICATION, operation)


def event(name: str) -> intent_pb2.ModelIntent:
    """Publishes an event with a name as its key."""
    message = operation_pb2.MessagePublish(event_type="HAPPENED", key=name)
    operation = operation_pb2.EffectOperation(message=message)
    return _intent("events", intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, operation)


def custom(text: str, retries: int = 8) -> intent_pb2.ModelIntent:
    """The worker's own operation."""
    operation = operation_pb2.EffectOperation()
    operation.custom.Pack(wrappers_pb2.StringValue(value=text))
    unspecified = intent_pb2.INTENT_TYPE_UNSPECIFIED
    return _intent("", unspecified, operation, retries=retries)


def emission(key: str, *intents: intent_pb2.ModelIntent) -> reducer_pb2.ModelContractReducer:
    """Makes the reducer emit these intents."""
    payload = data.pack(effect_pb2.ExecuteIntentsRequest(intents=intents))
    return reducer_pb2.ModelContractReducer(
        correlation_id=CORRELATION,
        reduction_config=reducer_pb2.ReductionConfig(state_key=key),
        input_data=reducer_pb2.ReducerInput(action="EMIT", payload=payload),
        action_id=str(uuid4()),
    )
