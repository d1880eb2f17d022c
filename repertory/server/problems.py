"""Problems: how errors leave over HTTP, as RFC 9457 ``application/problem+json``."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from repertory.errors import (
    ActorDown,
    BudgetExceeded,
    CallUncertain,
    CircuitOpen,
    DeadlineExceeded,
    EndpointOverloaded,
    InputError,
    KeyReused,
    LMAuthError,
    LMConnectionError,
    LMError,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
    MailboxFull,
    OutputsInvalid,
    Overloaded,
    PriceUnknown,
    ProgramChanged,
    RepertoryError,
    ReplyError,
    RunCancelled,
    RunTakenOver,
    RuntimeClosed,
    RunUnknown,
    StoreError,
    WrongRunState,
)
from repertory.events import Hooks
from repertory.server.events import JournalFailed, RequestCrashed

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = 1.0  # seconds, where the failing side named none
ON_EVERY_ANSWER: Final[Mapping[str, str]] = MappingProxyType(
    {hdrs.SERVER: "repertory", hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}
)

# The first class an error belongs to decides. What is not listed is nobody's business but the operator's.
_ANSWERS: Final[tuple[tuple[type[RepertoryError], int, str], ...]] = (
    (DeadlineExceeded, 504, "The prediction was not made in time"),
    (LMTimeout, 504, "The language model did not answer in time"),
    (CircuitOpen, 503, "The language model is out of service"),
    (EndpointOverloaded, 503, "Too many requests wait for the language model"),
    (LMConnectionError, 503, "The language model cannot be reached"),
    (LMRateLimited, 503, "The language model takes no more requests for now"),
    (Overloaded, 503, "The service has too much to do"),
    (MailboxFull, 503, "Too many requests are waiting"),
    (ActorDown, 503, "The actor that held the request ended"),
    (RuntimeClosed, 503, "The service is stopping"),
    (BudgetExceeded, 402, "The budget that pays for it is used up"),
    (PriceUnknown, 500, "Nothing is sure to pay for it"),
    (LMAuthError, 502, "The language model refused the service's credentials"),
    (LMRequestRejected, 502, "The language model refused the request"),
    (LMServerError, 502, "The language model failed"),
    (LMReplyMalformed, 502, "The language model's reply cannot be read"),
    (ReplyError, 502, "The language model's reply does not hold the outputs"),
    (OutputsInvalid, 502, "The outputs do not fit the program"),
    (LMError, 502, "The language model failed"),
    (RunUnknown, 404, "There is no such run"),
    (KeyReused, 409, "The key stands for another run"),
    (ProgramChanged, 409, "The program has changed since the run was accepted"),
    (WrongRunState, 409, "The run is in no state for this"),
    (RunTakenOver, 409, "Another process executes the run"),
    (RunCancelled, 409, "The run was cancelled"),
    (CallUncertain, 409, "Nobody knows whether a call of the run was billed"),
)


class Problem(Exception):
    """An answer other than the one asked for; handlers raise it.

    Args:
        status: HTTP status.
        code: Stable string for programs to branch on.
        title: The kind of problem, the same each time.
        detail: What happened this time.
        hint: What to do about it.
        field: The input, output or header at fault.
        headers: Sent along.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        hint: str | None = None,
        field: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.hint = hint
        self.field = field
        self.headers = headers

    def response(self) -> web.Response:
        """The problem as RFC 9457 has it."""
        members: dict[str, Any] = {
            "type": f"urn:repertory:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.hint is not None:
            members["hint"] = self.hint
        if self.field is not None:
            members["field"] = self.field
        return web.Response(
            status=self.status, body=orjson.dumps(members), content_type=CONTENT_TYPE, headers=self.headers
        )


def input_problem(error: InputError) -> Problem:
    """What to tell the client whose inputs do not fit."""
    title = "The inputs do not fit the program"
    return Problem(422, error.code, title, error.message, hint=error.hint, field=error.field)


def problem_of(error: RepertoryError) -> Problem | None:
    """What to tell the client of ``error``; None if it is none of its business."""
    for kind, status, title in _ANSWERS:
        if isinstance(error, kind):
            return Problem(
                status,
                error.code,
                title,
                error.message,
                hint=error.hint,
                field=error.field if isinstance(error, ReplyError | OutputsInvalid) else None,
                headers=retry_after(error.retry_after) if status == HTTPStatus.SERVICE_UNAVAILABLE else {},
            )
    return None


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header that tells when to ask again, in whole seconds (RFC 9110, 10.2.3)."""
    return {hdrs.RETRY_AFTER: str(max(1, math.ceil(RETRY_AFTER if seconds is None else seconds)))}


async def answer(request: web.Request, handler: Handler, request_id: str, hooks: Hooks) -> web.StreamResponse:
    """What ``handler`` answers to ``request``, or the problem it raises."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as refusal:
        return _of_refusal(request, refusal).response()
    except StoreError as error:
        return (problem_of(error) or _unwritten(request_id, error, hooks)).response()
    except Exception as error:  # noqa: BLE001  # the client gets an id, the log gets the error
        known = problem_of(error) if isinstance(error, RepertoryError) else None
        return (known or _crashed(request_id, error, hooks)).response()


def _of_refusal(request: web.Request, refusal: web.HTTPException) -> Problem:
    """What aiohttp itself refuses."""
    match refusal:
        case web.HTTPNotFound():
            detail = f"there is nothing at {request.rel_url.raw_path}"
            return Problem(404, "not_found", "Not found", detail, hint="GET /v1/programs lists the programs.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(refusal.allowed_methods))
            detail, hint = f"{request.method} is not allowed here", f"Allowed: {allowed}."
            headers = {str(hdrs.ALLOW): allowed}
            return Problem(405, "method_not_allowed", "Method not allowed", detail, hint=hint, headers=headers)
        case web.HTTPRequestEntityTooLarge():
            detail = f"the body is larger than {request.client_max_size} bytes"
            hint = "Send less, or raise server.max_body_bytes."
            return Problem(413, "body_too_large", "The body is too large", detail, hint=hint)
        case _:
            return Problem(refusal.status, "http_error", refusal.reason, refusal.reason)


def _unwritten(request_id: str, error: StoreError, hooks: Hooks) -> Problem:
    if hooks:
        hooks.emit(JournalFailed(request_id, error.message))
    return Problem(
        503,
        StoreError.code,
        "The journal cannot be written",
        f"the service cannot note what it does; request {request_id}",
        hint="The service's log has the cause under this id.",
        headers=retry_after(error.retry_after),
    )


def _crashed(request_id: str, error: Exception, hooks: Hooks) -> Problem:
    if hooks:
        hooks.emit(RequestCrashed(request_id, error))
    return Problem(
        500,
        "internal_error",
        "Internal error",
        f"something failed inside; request {request_id}",
        hint="The service's log has the cause under this id.",
    )
