"""Large JSON values in pieces that are stored once: contents, each under the hash of its text.

A small value stays as it is. What stands for a larger one is a reference, ``{"$content": HASH}``. A content is a
JSON array that begins with its kind:

* ``["whole", value]``: the value, as it is; what looks like a reference in there is none.
* ``["object", {name: data, ...}]``: an object; what stands for a member may be a reference.
* ``["list", before, parts]`` and ``["text", before, parts]``: some items of a list, or pieces of a text. A part is
  the hash of one, or, of a small item, ``[item]``. ``before`` is the hash of what comes before them, or null.
* ``["branch", before, parts]``: the same one level up: the hashes of lists, of texts or of branches.

A list or text is thus a Merkle tree by position. Its full nodes never change as it grows at the end, and what is
not full hangs from the root: appending an item writes the item, a new root, and one time in 16 a full node.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any, TypeAlias, TypeGuard

import orjson
from pydantic_core import from_json

from repertory.errors import StoreError

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | None

INLINE = 512  # bytes of JSON that a value may take where it stands
FAN_OUT = 16  # parts of a node
PIECE = 1024  # characters of a piece of text
WHOLE = 2048  # bytes of JSON up to which a content is not divided
SMALL = 64  # bytes of JSON up to which an item is not worth a content of its own
DEEPEST = 32  # levels of nesting below which nothing is divided, so that no value is too deep for the stack
MOST_KNOWN = 20_000  # contents that a spiller remembers

_KEY = "$content"
_SIGN = b'"$content":'  # stands in the JSON of every value that has such a key


@dataclass(frozen=True, slots=True)
class Spilled:
    """A value, divided.

    Attributes:
        data: What stands for it, in at most ``inline`` bytes of JSON; it may share objects with the value.
        contents: What it refers to, directly or not, by hash.
    """

    data: Json
    contents: dict[str, bytes]


def spill(value: Json, *, inline: int = INLINE) -> Spilled:
    """Divide ``value``, if it takes more than ``inline`` bytes of JSON. Raises TypeError if it is no JSON."""
    return Spiller(inline).spill(value)


def restore(data: Json, contents: Mapping[str, bytes], parsed: dict[str, Json] | None = None) -> Json:
    """The value that ``data`` stands for. Raises StoreError if ``contents`` lack what it refers to.

    Args:
        parsed: Undivided values that were restored before, by the hashes of their contents: these become parts of
            this value, and what is new is added.
    """
    if not isinstance(data, dict):
        return data  # only objects hold references: a list with any in it is one itself
    if _KEY in data:
        return _restored(_hash_in(data), contents, parsed)
    value: dict[str, Json] = {}
    for name, member in data.items():  # no comprehension: it would take twice the stack
        value[name] = restore(member, contents, parsed) if type(member) is dict else member
    return value


def references(data: Json) -> set[str]:
    """The hashes of the contents that ``data`` refers to directly."""
    found: set[str] = set()
    left = [data]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if _KEY in each:
                found.add(_hash_in(each))
            else:
                left.extend(each.values())
    return found


def references_of(content: bytes) -> set[str]:
    """The hashes of the contents that a content refers to directly."""
    if content.startswith(b'["whole",'):
        return set()
    kind, *rest = _parsed(content)
    if kind == "object":
        return references(rest[0])
    before, parts = rest
    found = {part for part in parts if isinstance(part, str)}
    return found if before is None else found | {before}


def content_hash(content: bytes) -> str:
    """The hash that a content is stored under: 32 hexadecimal digits."""
    return blake2b(content, digest_size=16).hexdigest()


def missing(hash: str) -> StoreError:
    """The error of a content that is referred to and not there."""
    return StoreError(
        f"content {hash} is missing from the store",
        hint="Restore a backup, or remove what refers to it.",
    )


class Spiller:
    """Divides the values of one run, and hands out each content once.

    Invariant: what is in ``_known`` was handed out together with everything that it refers to; ``_nodes`` leads
    from the digest of a full node's parts to the node's hash, which is in ``_known``. So the long beginning of a
    history is digested at every step, but not divided again.

    Two runs must not share one: each is to refresh what it refers to in the store. Where a write of contents
    failed, they are not to be had again: take a new spiller.
    """

    __slots__ = ("_inline", "_known", "_nodes")

    def __init__(self, inline: int = INLINE) -> None:
        if not 64 <= inline <= WHOLE:
            raise ValueError(f"inline = {inline}: write 64 to {WHOLE} bytes")
        self._inline = inline
        self._known: set[str] = set()
        self._nodes: dict[bytes, str] = {}

    def spill(self, value: Json) -> Spilled:
        """Divide ``value``; ``contents`` has what was not handed out before. Raises TypeError if it is no JSON."""
        text = _dumped(value)
        if len(text) <= self._inline and _SIGN not in text:
            return Spilled(value, {})
        if len(self._known) > MOST_KNOWN:  # to hand some out again is no harm
            self._known.clear()
            self._nodes.clear()
        division = _Division(self._inline, self._known, self._nodes)
        data = division.reduced(value, text, 0)
        self._known.update(division.contents)
        self._nodes.update(division.nodes)
        return Spilled(data, division.contents)


class _Division:
    """The division of one value into contents; those in ``known`` are left out."""

    __slots__ = ("contents", "inline", "known", "known_nodes", "nodes")

    def __init__(self, inline: int, known: set[str], known_nodes: dict[bytes, str]) -> None:
        self.inline = inline
        self.known = known
        self.known_nodes = known_nodes
        self.contents: dict[str, bytes] = {}
        self.nodes: dict[bytes, str] = {}

    def reduced(self, value: Json, text: bytes, depth: int) -> Json:
        """What stands for ``value`` in at most ``inline`` bytes; ``text`` is its JSON."""
        if len(text) <= self.inline and _SIGN not in text:
            return value
        if len(text) <= WHOLE or not _has_members(value, depth):
            return {_KEY: self._stored(value, text, depth)}
        members = self._members(value, depth)
        text = _dumped(members)
        return members if len(text) <= self.inline else {_KEY: self._put(b'["object",%b]' % text)}

    def _stored(self, value: Json, text: bytes, depth: int) -> str:
        """The hash of a content that stands for ``value``."""
        if len(text) > WHOLE and depth < DEEPEST:
            if isinstance(value, list | str):
                return self._sequence(value, depth)
            if _has_members(value, depth):
                return self._put(b'["object",%b]' % _dumped(self._members(value, depth)))
        return self._put(b'["whole",%b]' % text)

    def _members(self, value: dict[str, Json], depth: int) -> dict[str, Json]:
        return {name: self.reduced(member, _dumped(member), depth + 1) for name, member in value.items()}

    def _sequence(self, value: list[Json] | str, depth: int) -> str:
        """The hash of the tree for a list or text that is not empty."""
        kind, size = ("text", PIECE) if isinstance(value, str) else ("list", 1)
        step = FAN_OUT * size
        end = (len(value) - 1) // step * step  # where the last node begins, full or not
        full = [self._node(kind, value[at : at + step], depth) for at in range(0, end, step)]
        return self._root(kind, full, self._parts(value[end:], depth))

    def _node(self, kind: str, value: list[Json] | str, depth: int) -> str:
        """The hash of a full node of the lowest level."""
        # Digested to recognize it, not to store it: most processors have instructions for SHA-256.
        digest = sha256(_dumped(value)).digest()
        known = self.known_nodes.get(digest) or self.nodes.get(digest)
        if known is None:
            known = self.nodes[digest] = self._put(_listed(kind, None, self._parts(value, depth)))
        return known

    def _root(self, kind: str, full: list[str], parts: Sequence[Json]) -> str:
        """The hash of a tree whose full nodes are ``full`` and whose last parts are ``parts``."""
        if len(full) < 2:
            return self._put(_listed(kind, full[0] if full else None, parts))
        end = (len(full) - 1) // FAN_OUT * FAN_OUT
        above = [self._put(_listed("branch", None, full[at : at + FAN_OUT])) for at in range(0, end, FAN_OUT)]
        return self._put(_listed(kind, self._root("branch", above, full[end:]), parts))

    def _parts(self, value: list[Json] | str, depth: int) -> list[Json]:
        if isinstance(value, str):
            pieces = (value[at : at + PIECE] for at in range(0, len(value), PIECE))
            return [self._put(b'["whole",%b]' % _dumped(piece)) for piece in pieces]
        parts: list[Json] = []
        for item in value:
            text = _dumped(item)
            parts.append([item] if len(text) <= SMALL else self._stored(item, text, depth + 1))
        return parts

    def _put(self, content: bytes) -> str:
        hash = content_hash(content)
        if hash not in self.known:
            self.contents[hash] = content
        return hash


def _listed(kind: str, before: str | None, parts: Sequence[Json]) -> bytes:
    return _dumped([kind, before, [*parts]])


def _has_members(value: Json, depth: int) -> TypeGuard[dict[str, Json]]:
    """Whether its members can be divided: not those of an object that would look like a reference."""
    return isinstance(value, dict) and depth < DEEPEST and _KEY not in value


def _restored(hash: str, contents: Mapping[str, bytes], parsed: dict[str, Json] | None) -> Json:
    """The value that a content stands for."""
    if parsed is not None and hash in parsed:
        return parsed[hash]
    kind, *rest = _parsed(_found(hash, contents))
    if kind == "whole":
        value: Json = rest[0]
        if parsed is not None:
            parsed[hash] = value
        return value
    if kind == "object":
        return restore(rest[0], contents, parsed)
    parts = _leaves(hash, contents)
    if kind == "text":
        return "".join(str(_restored(part, contents, parsed)) for part in parts)
    return [_restored(part, contents, parsed) if isinstance(part, str) else part[0] for part in parts]


def _leaves(hash: str, contents: Mapping[str, bytes]) -> Iterator[Any]:
    """The parts of the lowest level of a tree, in order."""
    kind, before, parts = _parsed(_found(hash, contents))
    if before is not None:
        yield from _leaves(before, contents)
    if kind != "branch":
        yield from parts
        return
    for part in parts:
        yield from _leaves(part, contents)


def _found(hash: str, contents: Mapping[str, bytes]) -> bytes:
    try:
        return contents[hash]
    except KeyError:
        raise missing(hash) from None


def _hash_in(reference: dict[str, Json]) -> str:
    hash = reference[_KEY]
    if not isinstance(hash, str):
        raise StoreError(f"{reference!r} is no reference to a content", hint="Only restore what was spilled.")
    return hash


def _dumped(value: Json) -> bytes:
    """``value`` as JSON; whatever orjson has no room for is written the slower way, in ASCII."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits, half of a character, too many levels; or no JSON
        return json.dumps(value, separators=(",", ":")).encode()


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content)  # orjson would turn long integers into floats
    except (TypeError, ValueError):  # half of a character, or too many levels
        return json.loads(content)
