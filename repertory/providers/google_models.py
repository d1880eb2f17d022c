"""Google's models: what they are called on the wire, and which ones there are.

Source: https://ai.google.dev/api/models.
"""

from typing import Final

from repertory.providers.failures import Peer
from repertory.providers.probe import names_in

PROBE_PATH: Final = "/models?pageSize=1000"  # the most; the default would list 50


def resource(model: str) -> str:
    """The model's name in a path or a body: ``models/NAME``, unless it is of another kind."""
    return model if "/" in model else f"models/{model}"


def offers(body: bytes, peer: Peer) -> tuple[str, ...]:
    """The models in the answer to ``PROBE_PATH``, without ``models/``; see ``WireProtocol``."""
    return tuple(name.removeprefix("models/") for name in names_in(body, "models", "name", peer))
