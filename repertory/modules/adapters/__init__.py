"""Prompt adapters: how a signature becomes messages to a model, and a reply becomes outputs."""

from repertory.modules.adapters.adapter import Adapter, Prompt, correction
from repertory.modules.adapters.baml import BAMLAdapter
from repertory.modules.adapters.chat import ChatAdapter
from repertory.modules.adapters.choosing import adapter_for, adapter_named
from repertory.modules.adapters.json_object import JSONAdapter
from repertory.modules.adapters.stream import FieldDelta, FieldDone, FieldEvent, ReplyStream
from repertory.modules.adapters.two_step import TwoStepAdapter
from repertory.modules.adapters.xml import XMLAdapter

__all__ = [
    "Adapter",
    "BAMLAdapter",
    "ChatAdapter",
    "FieldDelta",
    "FieldDone",
    "FieldEvent",
    "JSONAdapter",
    "Prompt",
    "ReplyStream",
    "TwoStepAdapter",
    "XMLAdapter",
    "adapter_for",
    "adapter_named",
    "correction",
]
