"""The side effects that orders ask for: a row, a confirmation by mail, an event."""

from __future__ import annotations

from onex.v1 import common_pb2, intent_pb2, operation_pb2
from onex_grpc.contract import data
from orders.v1 import orders_pb2


def insert_row(order: orders_pb2.Order) -> intent_pb2.ModelIntent:
    """Adds the order to the database."""
    line, status = order.details.line, _status(order)
    row = _row(
        order_id=line.order_id,
        customer_id=line.customer_id,
        order_date=line.order_date,
        quantity=line.quantity,
        amount_cents=order.details.amount_cents,
        status=status,
    )
    insert = operation_pb2.DatabaseInsert(table="orders", row=row)
    return _write(line.order_id, status, operation_pb2.DatabaseStatement(insert=insert))


def update_row(order: orders_pb2.Order) -> intent_pb2.ModelIntent:
    """Brings the order's row to its new status."""
    order_id, status = order.details.line.order_id, _status(order)
    update = operation_pb2.DatabaseUpdate(
        table="orders", row=_row(status=status), where=_row(order_id=order_id)
    )
    return _write(order_id, status, operation_pb2.DatabaseStatement(update=update))


def confirm_by_mail(order: orders_pb2.Order) -> intent_pb2.ModelIntent:
    """Tells the customer that the order is placed."""
    line, cents = order.details.line, order.details.amount_cents
    notification = operation_pb2.Notification(
        template="order_confirmation",
        to=f"customer-{line.customer_id}@example.invalid",
        data={
            "order_id": _scalar(line.order_id),
            "quantity": _scalar(line.quantity),
            "amount": _scalar(f"{cents // 100}.{cents % 100:02d}"),
        },
    )
    return intent_pb2.ModelIntent(
        intent_type=intent_pb2.INTENT_TYPE_NOTIFICATION,
        target="order_mail",
        payload=operation_pb2.EffectOperation(notification=notification),
        priority=intent_pb2.INTENT_PRIORITY_HIGH,
        idempotency_key=f"mail:{line.order_id}:placed",
    )


def announce(order: orders_pb2.Order) -> intent_pb2.ModelIntent:
    """Publishes that the order is placed."""
    order_id = order.details.line.order_id
    message = operation_pb2.MessagePublish(
        event_type=_status(order), key=order_id, data=data.pack(order)
    )
    return intent_pb2.ModelIntent(
        intent_type=intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH,
        target="order_events",
        payload=operation_pb2.EffectOperation(message=message),
        priority=intent_pb2.INTENT_PRIORITY_NORMAL,
        idempotency_key=f"event:{order_id}:{_status(order)}",
    )


def _write(
    order_id: str, status: str, statement: operation_pb2.DatabaseStatement
) -> intent_pb2.ModelIntent:
    journal = operation_pb2.DatabaseInsert(
        table="order_journal", row=_row(order_id=order_id, status=status)
    )
    database = operation_pb2.DatabaseOperation(
        statements=[statement, operation_pb2.DatabaseStatement(insert=journal)]
    )
    return intent_pb2.ModelIntent(
        intent_type=intent_pb2.INTENT_TYPE_DATABASE_WRITE,
        target="orders_db",
        payload=operation_pb2.EffectOperation(database=database),
        priority=intent_pb2.INTENT_PRIORITY_CRITICAL,
        idempotency_key=f"row:{order_id}:{status}",
        # A status must not overtake the one before it.
        order_key=order_id,
    )


def _status(order: orders_pb2.Order) -> str:
    return orders_pb2.OrderStatus.Name(order.status).removeprefix("ORDER_STATUS_")


def _row(**columns: str | int) -> operation_pb2.Row:
    return operation_pb2.Row(columns={name: _scalar(value) for name, value in columns.items()})


def _scalar(value: str | int) -> common_pb2.Scalar:
    if isinstance(value, int):
        return common_pb2.Scalar(int64_value=value)
    return common_pb2.Scalar(string_value=value)
