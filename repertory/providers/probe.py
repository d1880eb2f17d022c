"""What a free question tells of an endpoint: that it is up, that its key is good, and what models it has.

The question is a GET of the list of models, which every protocol here has. Its answer's status says the rest, read
as any other's (``failures.error_from``).
"""

from collections.abc import Sequence
from difflib import get_close_matches

from repertory.providers.failures import Peer, read_object
from repertory.providers.wire import items

MOST_NAMED = 3


def names_in(body: bytes, key: str, field: str, peer: Peer) -> tuple[str, ...]:
    """The text in ``field`` of each entry of the list ``key``, and the entry's ``aliases``.

    Raises:
        LMReplyMalformed: The body, that of a 2xx answer, has no such list.
        LMError: It is an error although the status was not.
    """
    entries = read_object(body, peer).get(key)
    if not isinstance(entries, list):
        raise peer.malformed(f"{key}, its list of models, is missing or not a list")
    names: dict[str, None] = {}  # in order, each once
    for entry in entries:
        if isinstance(entry, dict):
            candidates = [entry.get(field), *items(entry.get("aliases"))]
            names.update(dict.fromkeys(name for name in candidates if isinstance(name, str) and name))
    return tuple(names)


def misspelt(model: str, offered: Sequence[str]) -> str | None:
    """What to do about a model that is not ``offered``; None if it is, or if nothing is said to be."""
    if not offered or model in offered:
        return None
    near = get_close_matches(model, offered, n=MOST_NAMED, cutoff=0.5)
    if not near:
        # Names with a date or a size are much longer than what people write: `claude-opus`.
        near = [name for name in offered if model in name or name in model][:MOST_NAMED]
    if near:
        return f"It has no model {model!r}. Did you mean {' or '.join(map(repr, near))}?"
    return f"It has no model {model!r}, but for instance {', '.join(map(repr, offered[:MOST_NAMED]))}."
