"""JSON that is kept for a while: the bytes of a request in flight, of an answer in the cache."""

import orjson


def json_bytes(value: object) -> bytes:
    """Return ``value`` as JSON, in no more memory than that takes. Any ``Mapping`` is an object."""
    # orjson reserves 4 kB at least, about ten times the length of a long text, and keeps what it does not use.
    return bytes(memoryview(orjson.dumps(value, default=dict)))
