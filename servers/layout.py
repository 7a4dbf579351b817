"""The settings of the sample mesh: addresses of the nodes, and the targets of the effect node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servers.supervisor import MeshLayout

_SETTINGS = """\
# Written by the sample mesh at each start.
state = {state}
{store}queues = ["reducer"]

[addresses]
{addresses}

# The effects' targets: what they are and what is allowed.
[targets.order_files]
kind = "files"
root = {csv_folder}
allow = ["read"]

[targets.orders_db]
kind = "sqlite"
path = {database}
schema = {schema}
allow = ["write"]

[targets.orders_db.tables]
orders = ["order_id", "customer_id", "order_date", "quantity", "amount_cents", "status"]
order_journal = ["order_id", "status"]

[targets.order_mail]
kind = "maildir"
path = {maildir}
sender = "shop@example.invalid"
recipients = 'customer-[A-Za-z0-9-]+@example\\.invalid'

[targets.order_mail.templates.order_confirmation]
subject = "Order $order_id confirmed"
body = "Thank you. Your order $order_id of $quantity CDs over $$$amount is placed.\\n"

[targets.order_events]
kind = "event_log"
topic = "order-events"
"""


def settings_text(layout: MeshLayout, schema: str) -> str:
    """The onex.toml that all servers of a layout read."""
    # A JSON string is a TOML basic string too, escapes included.
    quote = json.dumps
    return _SETTINGS.format(
        state=quote(str(layout.state)),
        store=f"store = {quote(layout.store)}\n" if layout.store else "",
        addresses="\n".join(f'"{node}" = {quote(at)}' for node, at in layout.addresses.items()),
        csv_folder=quote(str(layout.csv_folder)),
        database=quote(str(layout.state / "orders.db")),
        schema=quote(schema),
        maildir=quote(str(layout.state / "mail")),
    )
