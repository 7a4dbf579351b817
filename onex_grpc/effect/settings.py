"""What an effect node may do to the outside world: its targets by name.

Each target has its address and what is allowed there. Intents and contracts name a target and never
an address, so that permissions are decided here alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

NotEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class _Target(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """Base of the kinds of target, told apart by `kind`."""


class SqliteTarget(_Target, frozen=True, kw_only=True, tag="sqlite"):
    """Tables of one SQLite file, which belongs to this effect node alone."""

    path: NotEmpty
    """The database file; its folder is created."""
    tables: dict[str, list[str]]
    """The tables that may be used, each with the columns that may be."""
    schema: str = ""
    """A file of SQL, run whenever the target is opened: its statements must bear repetition."""
    allow: frozenset[Literal["read", "write"]] = frozenset({"read", "write"})


class FilesTarget(_Target, frozen=True, kw_only=True, tag="files"):
    """Files below one folder; nothing outside of it can be reached."""

    root: NotEmpty
    """The folder; created where writing is allowed."""
    allow: frozenset[Literal["read", "write", "delete"]] = frozenset({"read"})
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] = 16 * 1024 * 1024
    """The largest file that may be read whole or written, and the longest line."""


class MailTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message with placeholders `$name` or `${name}`; `$$` is a dollar sign."""

    subject: str
    body: str


class MaildirTarget(_Target, frozen=True, kw_only=True, tag="maildir"):
    """Notifications, delivered into a Maildir folder (https://cr.yp.to/proto/maildir.html)."""

    path: NotEmpty
    """The Maildir; created with its `tmp`, `new` and `cur`."""
    sender: str
    """The address in From."""
    recipients: str
    """A regular expression that the whole address of a recipient must match."""
    templates: dict[str, MailTemplate]


class EventLogTarget(_Target, frozen=True, kw_only=True, tag="event_log"):
    """One topic of the mesh's event log."""

    topic: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,128}\Z")]
    bus: str = "orchestrator"
    """The node that keeps the log, as the mesh knows it: `kind` or `kind/name`."""


class CustomTarget(_Target, frozen=True, kw_only=True, tag="custom"):
    """A resource of the user's own operations; only these may use it."""

    options: dict[str, str] = {}
    """What the node's own code needs to reach it."""

    def __repr__(self) -> str:
        # The options may hold credentials.
        return f"CustomTarget(options={sorted(self.options)})"


TargetSettings = SqliteTarget | FilesTarget | MaildirTarget | EventLogTarget | CustomTarget


class EffectSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one effect node."""

    targets: dict[str, TargetSettings] = {}
    """The targets by name."""
    queues: list[str] = []
    """The nodes whose intents are taken, as the mesh knows them: `reducer` or `reducer/name`."""
    intents_in_flight: int = 32
    """How many intents of one queue are executed at the same time: 1 to 1000."""
    intent_timeout: float = 60.0
    """Seconds that one attempt of an intent may take; longer, and it has failed."""
    stop_grace: float = 10.0
    """Seconds for which running intents may finish when the node stops; the rest are given back."""
