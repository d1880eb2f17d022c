"""The terms of a run as headers say them: whose run it is, who pays, what to find it by.

``Idempotency-Key`` is that of draft-ietf-httpapi-idempotency-key-header, ``traceparent`` that of W3C Trace
Context; ``Repertory-Tags`` is written like the list of W3C Baggage.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final, cast, get_args
from urllib.parse import unquote

from aiohttp import web

from repertory.errors import ConfigError
from repertory.providers.messages import Priority, Terms
from repertory.runtime.run_budget import RunBudget
from repertory.server.problems import Problem
from repertory.store.ledger import Ledger

KEY: Final = "Idempotency-Key"
CALLER: Final = "Repertory-Caller"
PRIORITY: Final = "Repertory-Priority"
ACCOUNTS: Final = "Repertory-Accounts"
BUDGET: Final = "Repertory-Budget"
TAGS: Final = "Repertory-Tags"
TRACE: Final = "traceparent"

LONGEST: Final = 200  # characters of a key, a name or a tag's value
MOST: Final = 16  # accounts, and tags

_LIMITS: Final = MappingProxyType(
    {"dollars": re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?"), "tokens": re.compile("[0-9]{1,15}")}
)
_TRACE: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of the run it asks for, beside its inputs.

    Attributes:
        key: What makes it this run and not another; None: a new one.
        budget: What it may spend; None: no limit of its own.
    """

    key: str | None
    terms: Terms
    trace: str
    tags: dict[str, str]
    budget: RunBudget | None


def read_terms(request: web.Request) -> Asked:
    """What the headers of ``request`` say of its run. Raises Problem, naming the header at fault."""
    headers = request.headers
    key = headers.get(KEY)
    if key is not None:
        key = _text(KEY, _unquoted(key), "a key of your own making, such as order-4711")
    caller = headers.get(CALLER)
    terms = Terms(
        caller=_text(CALLER, caller, "a name, such as alice") if caller is not None else "",
        priority=_priority(headers.get(PRIORITY)),
        accounts=_accounts(headers.get(ACCOUNTS)),
    )
    trace = headers.get(TRACE, "")
    # One that is none is as good as none there: W3C Trace Context, 3.2.2.
    trace = trace if _TRACE.fullmatch(trace) else ""
    return Asked(key, terms, trace, _tags(headers.get(TAGS)), _budget(headers.get(BUDGET)))


async def check_accounts(accounts: tuple[str, ...], ledger: Ledger) -> None:
    """Raise Problem if one of ``accounts`` does not exist: a run that nobody pays for is not begun."""
    for account in accounts:
        try:
            await ledger.balance(account)
        except ConfigError as error:
            raise _invalid(ACCOUNTS, error.message, "[budgets.NAME] in the configuration makes one.") from None


def _unquoted(key: str) -> str:
    """The key in the draft's notation, a quoted string, or as many write it, without quotes."""
    quoted = len(key) > 1 and key[0] == key[-1] == '"'
    return key[1:-1].replace('\\"', '"').replace("\\\\", "\\") if quoted else key


def _priority(said: str | None) -> Priority:
    if said is None:
        return "normal"
    if said not in get_args(Priority):
        raise _invalid(PRIORITY, f"got {said[:40]!r}", f"Write one of: {', '.join(get_args(Priority))}.")
    return cast(Priority, said)


def _accounts(said: str | None) -> tuple[str, ...]:
    items = _items(ACCOUNTS, said)
    return tuple(dict.fromkeys(_text(ACCOUNTS, item, "names, separated by commas") for item in items))


def _budget(said: str | None) -> RunBudget | None:
    if said is None:
        return None
    limits = dict(item.partition("=")[::2] for item in _items(BUDGET, said))
    known = all(name in _LIMITS and _LIMITS[name].fullmatch(value) for name, value in limits.items())
    if not limits or not known:
        raise _invalid(BUDGET, f"got {said[:40]!r}", "Write: dollars=0.05, tokens=10000   (or one of them)")
    dollars, tokens = limits.get("dollars"), limits.get("tokens")
    return RunBudget(Decimal(dollars) if dollars else None, int(tokens) if tokens else None)


def _tags(said: str | None) -> dict[str, str]:
    tags = {}
    for item in _items(TAGS, said):
        name, equals, value = item.partition("=")
        if not equals:
            raise _invalid(TAGS, f"{item[:40]!r} has no value", "Write: name=value, other=value")
        name, value = unquote(name.strip()), unquote(value.strip())
        tags[_text(TAGS, name, "name=value")] = _text(TAGS, value, "name=value") if value else ""
    return tags


def _items(header: str, said: str | None) -> list[str]:
    items = [item.strip() for item in said.split(",") if item.strip()] if said is not None else []
    if len(items) > MOST:
        raise _invalid(header, f"it has {len(items)} items", f"At most {MOST} are taken.")
    return items


def _text(header: str, value: str, example: str) -> str:
    if not (0 < len(value) <= LONGEST and value.isprintable()):
        what = f"{len(value)} characters" if len(value) > LONGEST else repr(value)
        raise _invalid(header, f"got {what}", f"Write {example}: up to {LONGEST} printable characters.")
    return value


def _invalid(header: str, what: str, hint: str) -> Problem:
    title = "A header cannot be used"
    return Problem(400, "header_invalid", title, f"{header}: {what}", hint=hint, field=header)
