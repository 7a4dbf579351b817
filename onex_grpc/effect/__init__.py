"""What an EFFECT node does: targets, idempotency, repeats; no server in it."""

from onex_grpc.effect.custom_call import CustomCall
from onex_grpc.effect.custom_target import CustomOperations
from onex_grpc.effect.executor import EffectExecutor
from onex_grpc.effect.settings import (
    CustomTarget,
    EffectSettings,
    EventLogTarget,
    FilesTarget,
    MaildirTarget,
    MailTemplate,
    SqliteTarget,
    TargetSettings,
)
from onex_grpc.effect.targets import EffectTargets

__all__ = [
    "CustomCall",
    "CustomOperations",
    "CustomTarget",
    "EffectExecutor",
    "EffectSettings",
    "EffectTargets",
    "EventLogTarget",
    "FilesTarget",
    "MailTemplate",
    "MaildirTarget",
    "SqliteTarget",
    "TargetSettings",
]
