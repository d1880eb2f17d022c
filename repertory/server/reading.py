"""Reading a request: its deadline and its inputs."""

import asyncio
import math
from typing import Any, Final

from aiohttp import hdrs, web

from repertory.errors import InputError
from repertory.server.problems import Problem, input_problem
from repertory.signatures.json_text import load_json

TIMEOUT_HEADER: Final = "X-Timeout-Seconds"


def read_timeout(request: web.Request, limit: float) -> float:
    """Seconds the client wants to wait, at most ``limit``."""
    asked = request.headers.get(TIMEOUT_HEADER)
    if asked is None:
        return limit
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise Problem(
            400,
            "header_invalid",
            "A header cannot be used",
            f"{TIMEOUT_HEADER}: expected seconds above 0, got {asked[:40]!r}",
            hint=f"Write: {TIMEOUT_HEADER}: {min(10, limit):g}   (at most {limit:g} is granted)",
            field=TIMEOUT_HEADER,
        )
    return min(seconds, limit)


async def read_inputs(request: web.Request, timeout: float) -> dict[str, Any]:
    """The JSON object in the body, which must arrive within ``timeout`` seconds."""
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
    body = await _read_body(request, timeout)
    try:
        inputs = load_json(body)
    except ValueError as error:
        raise _bad_json(f"the body is not JSON: {error}" if body else "the body is empty") from None
    if not isinstance(inputs, dict):
        kind = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(inputs))
        raise input_problem(InputError("", f"expected a JSON object, got {kind or 'a number'}"))
    return inputs


async def _read_body(request: web.Request, timeout: float) -> bytes:
    try:
        async with asyncio.timeout(timeout):
            return await request.read()
    except TimeoutError:
        detail, headers = f"the body was not here after {timeout:g} s", {str(hdrs.CONNECTION): "close"}
        raise Problem(408, "body_too_slow", "The body did not arrive in time", detail, headers=headers) from None
    except web.RequestPayloadError:  # chunks or compression that do not add up
        raise _bad_json("the body cannot be unpacked") from None


def _bad_json(detail: str) -> Problem:
    hint = "Send one JSON object with the program's inputs."
    return Problem(400, "json_invalid", "The body cannot be read", detail, hint=hint)
