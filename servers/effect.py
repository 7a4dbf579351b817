"""The EFFECT node of the sample mesh; its settings say where files, tables and mails are."""

from onex.v1 import operation_pb2 as op
from onex_grpc.contract.data import pack
from onex_grpc.contract.scalar import row, scalars
from onex_grpc.serve import serve
from onex_grpc.typed import EffectCall
from orders.v1.desk_onex import DeskEffect
from orders.v1.desk_pb2 import (
    AnnounceOrderRequest,
    AnnounceOrderResponse,
    ConfirmOrderRequest,
    ConfirmOrderResponse,
    ReadLineRequest,
    ReadLineResponse,
    RecordOrderRequest,
    RecordOrderResponse,
)
from orders.v1.orders_pb2 import Order, OrderStatus


class OrderDesk(DeskEffect):
    """Reads the file of purchases, keeps the orders' rows, writes mails and publishes events."""

    async def read_line(self, request: ReadLineRequest, call: EffectCall) -> ReadLineResponse:
        """One line of the file."""
        file = op.FileOperation(path=request.file, read=op.FileRead(line=request.line))
        text = await self.perform(call, "order_files", op.EffectOperation(file=file))
        return ReadLineResponse(text=text.value.string_value)

    async def record_order(
        self, request: RecordOrderRequest, call: EffectCall
    ) -> RecordOrderResponse:
        """The order's row and a line in the journal, in one transaction."""
        order, line, status = request.order, request.order.details.line, _status(request.order)
        current = row(
            order_id=line.order_id,
            customer_id=line.customer_id,
            order_date=line.order_date,
            quantity=line.quantity,
            amount_cents=order.details.amount_cents,
            status=status,
        )
        noted = row(order_id=line.order_id, status=status)
        upsert = op.DatabaseUpsert(table="orders", row=current, key_columns=["order_id"])
        insert = op.DatabaseInsert(table="order_journal", row=noted)
        statements = [op.DatabaseStatement(upsert=upsert), op.DatabaseStatement(insert=insert)]
        database = op.DatabaseOperation(statements=statements)
        await self.perform(call, "orders_db", op.EffectOperation(database=database))
        return RecordOrderResponse()

    async def confirm_order(
        self, request: ConfirmOrderRequest, call: EffectCall
    ) -> ConfirmOrderResponse:
        """A mail to the customer."""
        line, cents = request.order.line, request.order.amount_cents
        amount = f"{cents // 100}.{cents % 100:02d}"
        data = scalars(order_id=line.order_id, quantity=line.quantity, amount=amount)
        to = f"customer-{line.customer_id}@example.invalid"
        mail = op.Notification(template="order_confirmation", to=to, data=data)
        await self.perform(call, "order_mail", op.EffectOperation(notification=mail))
        return ConfirmOrderResponse()

    async def announce_order(
        self, request: AnnounceOrderRequest, call: EffectCall
    ) -> AnnounceOrderResponse:
        """An event of the order's new status."""
        order, key = request.order, request.order.details.line.order_id
        event = op.MessagePublish(event_type=_status(order), key=key, data=pack(order))
        await self.perform(call, "order_events", op.EffectOperation(message=event))
        return AnnounceOrderResponse()


def _status(order: Order) -> str:
    return OrderStatus.Name(order.status).removeprefix("ORDER_STATUS_")


if __name__ == "__main__":
    serve(OrderDesk)
