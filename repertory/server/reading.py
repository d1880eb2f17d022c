"""Reading a request, its deadline, its query and its body; and writing an answer."""

import asyncio
import math
import re
import sys
from collections.abc import Collection
from typing import Any, Final

from aiohttp import hdrs, web

from repertory.errors import InputError
from repertory.server.problems import Problem, input_problem
from repertory.signatures.json_text import dump_json, load_json

TIMEOUT_HEADER: Final = "X-Timeout-Seconds"


def read_timeout(request: web.Request, limit: float) -> float:
    """Seconds the client wants to wait, at most ``limit``."""
    asked = asked_timeout(request, limit)
    return limit if asked is None else min(asked, limit)


def asked_timeout(request: web.Request, limit: float | None = None) -> float | None:
    """The seconds that the client asks for, if it does; ``limit`` is the most it would be granted."""
    asked = request.headers.get(TIMEOUT_HEADER)
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        granted = f"   (at most {limit:g} is granted)" if limit is not None else ""
        raise Problem(
            400,
            "header_invalid",
            "A header cannot be used",
            f"{TIMEOUT_HEADER}: expected seconds above 0, got {asked[:40]!r}",
            hint=f"Write: {TIMEOUT_HEADER}: {10 if limit is None else min(10, limit):g}{granted}",
            field=TIMEOUT_HEADER,
        )
    return seconds


def read_number(request: web.Request, name: str, default: int, *, least: int = 0, most: int = sys.maxsize) -> int:
    """The whole number that the query gives ``name``, at most ``most``."""
    asked = request.query.get(name)
    if asked is None:
        return default
    # Not whatever int() takes: spaces, underscores, and thousands of digits.
    if not re.fullmatch(r"-?[0-9]{1,18}", asked) or int(asked) < least:
        raise _bad_query(name, asked, f"Write a whole number from {least}, such as {name}={default}.")
    return min(int(asked), most)


def read_choice(request: web.Request, name: str, choices: Collection[str]) -> str | None:
    """The one of ``choices`` that the query gives ``name``; None if it gives none."""
    asked = request.query.get(name)
    if asked is not None and asked not in choices:
        raise _bad_query(name, asked, f"Write one of: {', '.join(choices)}.")
    return asked


async def read_inputs(request: web.Request, timeout: float) -> dict[str, Any]:
    """The JSON object in the body, which must arrive within ``timeout`` seconds."""
    body = await _read_json_body(request, timeout)
    inputs = _loaded(body, "Send one JSON object with the program's inputs.")
    if not isinstance(inputs, dict):
        kind = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(inputs))
        raise input_problem(InputError("", f"expected a JSON object, got {kind or 'a number'}"))
    return inputs


async def read_value(request: web.Request, timeout: float) -> Any:
    """The JSON value in the body, None if that is empty; it must arrive within ``timeout`` seconds."""
    body = await _read_json_body(request, timeout)
    return _loaded(body, "Send a JSON value, or nothing.") if body else None


async def _read_json_body(request: web.Request, timeout: float) -> bytes:
    # A web page can send other content types anywhere without asking the browser for leave (CORS).
    if request.content_type != "application/json":
        got = request.content_type if hdrs.CONTENT_TYPE in request.headers else "none"
        raise Problem(
            415,
            "content_type_unsupported",
            "The body is not announced as JSON",
            f"expected the content type application/json, got {got}",
            hint="Send the header: Content-Type: application/json   (curl: --json, or -H)",
        )
    try:
        async with asyncio.timeout(timeout):
            return await request.read()
    except TimeoutError:
        detail, headers = f"the body was not here after {timeout:g} s", {str(hdrs.CONNECTION): "close"}
        raise Problem(408, "body_too_slow", "The body did not arrive in time", detail, headers=headers) from None
    except web.RequestPayloadError:  # chunks or compression that do not add up
        raise _bad_json("the body cannot be unpacked", "Send JSON as it is, or gzip of it.") from None


def json_response(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer with ``value`` as its body."""
    return web.Response(status=status, body=dump_json(value), content_type="application/json", headers=headers)


def _loaded(body: bytes, hint: str) -> Any:
    try:
        return load_json(body)
    except ValueError as error:
        raise _bad_json(f"the body is not JSON: {error}" if body else "the body is empty", hint) from None


def _bad_json(detail: str, hint: str) -> Problem:
    return Problem(400, "json_invalid", "The body cannot be read", detail, hint=hint)


def _bad_query(name: str, asked: str, hint: str) -> Problem:
    title, detail = "The query cannot be used", f"{name}: got {asked[:40]!r}"
    return Problem(400, "query_invalid", title, detail, hint=hint, field=name)
