"""The witness of a step's calls: it has each of them in the run's log before it is sent."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import count
from typing import Any, Literal, TypeAlias

from repertory.errors import CallUncertain
from repertory.providers.messages import LMResponse, Usage
from repertory.providers.response_json import from_json, to_json
from repertory.providers.witness import Intent, Told
from repertory.runtime.history import OpenCall, RunHistory, StepKey
from repertory.runtime.run_log import RunLog
from repertory.store.ledger import nano_dollars

UncertainPolicy: TypeAlias = Literal["rebuy", "hold", "fail"]
"""What a run does about a call of which nobody knows whether it was billed: make it again; wait for somebody to
decide; fail."""


class StepWitness:
    """Implements `Witness` for the calls of one step, and has the answers to those of an earlier life.

    Invariant: of each attempt that was told, ``_untold`` has the ending until an event has carried it.

    Attributes:
        nano_cost: What the calls cost for certain, in nano-dollars.
        log: Where all this is recorded.
        step: Whose calls these are.
    """

    __slots__ = (
        "_base",
        "_events",
        "_keys",
        "_named",
        "_policy",
        "_recorded",
        "_replies",
        "_untold",
        "log",
        "nano_cost",
        "step",
    )

    def __init__(self, log: RunLog, step: StepKey, history: RunHistory | None, policy: UncertainPolicy) -> None:
        self.log = log
        self.step = step
        self._policy = policy
        self._base = ""
        self._keys = count()
        self._named: dict[Intent, str] = {}  # provider's ids that are yet to be told
        self._events: dict[Intent, int] = {}  # attempts under way, and the number of the event of each
        self._untold: list[list[Any]] = []
        self._replies: list[str | LMResponse] = []  # answers that no event has carried yet
        self._recorded = history.calls_of(step) if history is not None else None
        self.nano_cost = self._recorded.nano_cost if self._recorded is not None else 0

    # --- for the endpoint ---

    def key(self) -> str:
        """As `Witness.key`."""
        if not self._base:
            step = self.step
            said = f"{self.log.run}\0{step.step}\0{step.asked}\0{step.occurrence}"
            self._base = blake2b(said.encode(), digest_size=12).hexdigest()
        return f"{self._base}-{next(self._keys)}"

    async def intend(self, intent: Intent) -> None:
        """As `Witness.intend`."""
        step = self.step
        data: dict[str, Any] = {
            "step": step.step,
            "asked": step.asked,
            "occurrence": step.occurrence,
            "key": intent.key,
            "attempt": intent.attempt,
            "endpoint": intent.endpoint,
            "request": intent.request_hash,
            "most": intent.nano_most,
            "tokens": intent.tokens_most,
        }
        if self._untold:
            data["settled"] = self.take_settled()
        if self._replies:
            # What has been paid for must not be bought again when only the rest of the step is to be repeated.
            data["replies"] = [_as_json(reply) for reply in self._replies]
            self._replies.clear()
        self.log.append("call", data)
        self._events[intent] = self.log.last
        await self.log.written()

    def identified(self, intent: Intent, response_id: str) -> None:
        """As `Witness.identified`."""
        self._named[intent] = response_id
        # An id that comes with the whole answer is of no use: by then the attempt is settled.
        asyncio.get_running_loop().call_soon(self._tell_id, intent)

    def _tell_id(self, intent: Intent) -> None:
        response_id = self._named.pop(intent, None)
        if response_id is not None and not self.log.closed:
            self.log.append("response", {"key": intent.key, "attempt": intent.attempt, "id": response_id})

    def settled(self, intent: Intent, ending: Told, usage: Usage, cost: Decimal | None) -> None:
        """As `Witness.settled`."""
        self._named.pop(intent, None)
        event = self._events.pop(intent, None)
        if event is None or self.log.closed:  # the run has ended meanwhile: the call stays open in its log
            return
        nano = nano_dollars(cost) if cost is not None else None
        self._untold.append([intent.key, intent.attempt, ending, usage.input_tokens, usage.output_tokens, nano])
        if ending == "uncertain":
            whom = (intent.key, intent.attempt, intent.endpoint, intent.request_hash)
            call = OpenCall(event, self.step, *whom, intent.nano_most, intent.tokens_most)
            self.log.doubt(call, "rebuy")
        elif ending == "paid":
            self.nano_cost += nano or 0

    # --- for the step ---

    def take_settled(self) -> Sequence[Sequence[Any]]:
        """How the attempts ended that no event has told of yet."""
        untold = [*self._untold]
        self._untold.clear()
        return untold

    def recorded_reply(self) -> LMResponse | None:
        """The answer that the next call got in an earlier life; None where it has to be asked."""
        if not self._recorded or not self._recorded.replies:
            return None
        next(self._keys)
        reply = self._recorded.replies.pop(0)
        self._replies.append(reply)  # a still later life needs it too
        return from_json(reply.encode())

    def open_call(self) -> OpenCall | None:
        """The call that an earlier life had under way when it ended, if its answer can be asked for by an id."""
        if self._recorded is None or self._recorded.open is None:
            return None
        call, self._recorded.open = self._recorded.open, None
        return call

    def replied(self, response: LMResponse) -> None:
        """A call got its answer."""
        self._replies.append(response)

    def fetched(self, call: OpenCall, response: LMResponse | None) -> None:
        """The answer to ``call``, which an earlier life had asked for, was asked for by its id.

        Raises CallUncertain if it is not there and the policy is not to ask again.
        """
        if response is None:
            self.log.append("uncertain", {"call": call.event, "policy": self._policy})
            self.log.doubt(call, self._policy)
            if self._policy != "rebuy":
                raise call_uncertain([call], self._policy)
            return
        nano = nano_dollars(response.cost) if response.cost is not None else None
        usage = response.usage
        self._untold.append([call.key, call.attempt, "paid", usage.input_tokens, usage.output_tokens, nano])
        self.nano_cost += nano or 0
        self.replied(response)


def call_uncertain(calls: Sequence[OpenCall], policy: str) -> CallUncertain:
    """What a run is told that does not go on because of ``calls``."""
    first = calls[0]
    others = f" and {len(calls) - 1} more" if len(calls) > 1 else ""
    return CallUncertain(
        f"{first.step.step}: a call of {first.endpoint}{others} was under way when the process died, and the "
        f"policy is to {policy}",
        held=policy == "hold",
        hint="Look at the provider's bill; `retry` asks again.",
    )


def _as_json(reply: str | LMResponse) -> str:
    return reply if isinstance(reply, str) else to_json(reply).decode()
