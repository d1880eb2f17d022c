"""Choosing an adapter: by name, or by what an endpoint can do."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from repertory.errors import ConfigError
from repertory.modules.adapters.adapter import Adapter
from repertory.modules.adapters.baml import BAMLAdapter
from repertory.modules.adapters.chat import ChatAdapter
from repertory.modules.adapters.json_object import JSONAdapter
from repertory.modules.adapters.two_step import TwoStepAdapter
from repertory.modules.adapters.xml import XMLAdapter
from repertory.providers.messages import SchemaDialect

_CHAT: Final = ChatAdapter()
_JSON: Final = JSONAdapter()
_BY_NAME: Final[Mapping[str, Adapter]] = MappingProxyType(
    {each.name: each for each in (_CHAT, _JSON, XMLAdapter(), BAMLAdapter(), TwoStepAdapter())}
)


def adapter_for(dialect: SchemaDialect | None) -> Adapter:
    """What ``auto`` means at an endpoint: JSON where it constrains replies to a schema, else chat."""
    return _CHAT if dialect is None else _JSON


def adapter_named(adapter: Adapter | str) -> Adapter:
    """The adapter of this name, or the one given.

    Raises:
        ConfigError: There is none of this name.
    """
    if isinstance(adapter, Adapter):
        return adapter
    found = _BY_NAME.get(adapter)
    if found is None:
        raise ConfigError(
            f"adapter = {adapter!r}: there is no such adapter",
            hint=f"Write one of: auto, {', '.join(_BY_NAME)}; or pass an Adapter.",
        )
    return found
