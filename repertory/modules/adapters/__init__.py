"""Prompt adapters: how a signature becomes messages to a model, and a reply becomes outputs."""

from repertory.modules.adapters.adapter import Adapter, Prompt, correction
from repertory.modules.adapters.chat import ChatAdapter
from repertory.modules.adapters.choosing import adapter_for, adapter_named
from repertory.modules.adapters.json_object import JSONAdapter

__all__ = ["Adapter", "ChatAdapter", "JSONAdapter", "Prompt", "adapter_for", "adapter_named", "correction"]
