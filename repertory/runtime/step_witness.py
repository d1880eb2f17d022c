"""The witness of a step's calls: it has each of them in the run's log before it is sent."""

import asyncio
from collections.abc import Awaitable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from repertory.errors import CallUncertain, RuntimeClosed
from repertory.providers.messages import LMResponse, Usage
from repertory.providers.response_json import from_json, to_json
from repertory.providers.witness import Intent, Told
from repertory.runtime.history import NOTHING_RECORDED, OpenCall, RunHistory, StepKey
from repertory.runtime.run_log import RunLog
from repertory.store.ledger import nano_dollars

UncertainPolicy: TypeAlias = Literal["rebuy", "hold", "fail"]
"""What a run does about a call of which nobody knows whether it was billed: make it again; wait for somebody to
decide; fail."""


class StepWitness:
    """Implements `Witness` for the calls of one step, and has the answers to those of an earlier life.

    Invariants: of each attempt that was told, ``_untold`` has the ending until an event has carried it.
    ``_answers`` are all that the step got, in whatever life, in order; events have carried the first ``_carried``
    of them. No two calls have the same key, but for one that is made again as nobody knows what became of it.

    Attributes:
        nano_cost: What the calls cost for certain, in nano-dollars.
        log: Where all this is recorded.
        step: Whose calls these are.
        streamed: Whether pieces of an answer are in the log.
    """

    __slots__ = (
        *("_answers", "_base", "_carried", "_events", "_given", "_history", "_named", "_open", "_paid"),
        *("_policy", "_read", "_untold", "log", "nano_cost", "step", "streamed"),
    )

    def __init__(self, log: RunLog, step: StepKey, history: RunHistory | None, policy: UncertainPolicy) -> None:
        recorded = history.calls_of(step) if history is not None else NOTHING_RECORDED
        self.log = log
        self.step = step
        self.streamed = False
        self.nano_cost = recorded.nano_cost
        self._history = history
        self._open = recorded.open  # what an earlier life had under way
        self._paid = recorded.paid
        self._policy = policy
        self._base = ""
        self._given: list[str] = []  # keys
        self._named: dict[Intent, str] = {}  # provider's ids that are yet to be told
        self._events: dict[Intent, int] = {}  # attempts under way, and the number of the event of each
        self._untold: list[list[Any]] = []
        self._answers: list[str | LMResponse] = [*recorded.replies]
        self._carried = len(self._answers)
        self._read = 0  # of the answers, by the present conversation

    # --- for the endpoint ---

    def key(self) -> str:
        """As `Witness.key`."""
        if not self._base:
            step = self.step
            said = f"{self.log.run}\0{step.step}\0{step.asked}\0{step.occurrence}"
            self._base = blake2b(said.encode(), digest_size=12).hexdigest()
        # Not that of a call that ended: the answer to that is not what is wanted.
        key = asked = f"{self._base}-{self._read}"
        number = 0
        while key in self._given or key in self._paid:
            number += 1
            key = f"{asked}.{number}"
        self._given.append(key)
        return key

    def intend(self, intent: Intent) -> Awaitable[bool]:
        """As `Witness.intend`."""
        if self.log.closed:
            raise RuntimeClosed(f"{self.step.step}: the run has ended", hint="Await all that forward begins.")
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
        if self._carried < len(self._answers):
            # What has been paid for must not be bought again when only the rest of the step is to be repeated.
            data["replies"] = [_as_json(answer) for answer in self._answers[self._carried :]]
            self._carried = len(self._answers)
        self.log.append("call", data)
        self._events[intent] = self.log.last
        return self.log.written()

    def identified(self, intent: Intent, response_id: str) -> None:
        """As `Witness.identified`."""
        self._named[intent] = response_id
        # An answer that comes in one piece is settled by then, and its id of no use.
        asyncio.get_running_loop().call_soon(self._tell_id, intent)

    def _tell_id(self, intent: Intent) -> None:
        response_id = self._named.pop(intent, None)
        if response_id is not None and not self.log.closed:
            self.log.append("response", {"key": intent.key, "attempt": intent.attempt, "id": response_id})

    def settled(self, intent: Intent, ending: Told, usage: Usage, cost: Decimal | None) -> None:
        """As `Witness.settled`."""
        self._named.pop(intent, None)
        event = self._events.pop(intent, None)
        if event is None:  # the step has ended meanwhile, and the call is listed
            return
        nano = nano_dollars(cost) if cost is not None else None
        self._untold.append([intent.key, intent.attempt, ending, usage.input_tokens, usage.output_tokens, nano])
        if ending == "paid":
            self.nano_cost += nano or 0
        elif ending == "uncertain":
            self._doubt(intent, event, "rebuy")  # whether it is asked again is up to its endpoint

    # --- for the step ---

    def end(self) -> None:
        """The step has its outcome: no event of it will tell how the calls end that are still under way."""
        for intent, event in self._events.items():
            self._doubt(intent, event, self._policy)
        self._events.clear()

    def take_settled(self) -> Sequence[Sequence[Any]]:
        """How the attempts ended that no event has told of yet."""
        untold = [*self._untold]
        self._untold.clear()
        return untold

    def begin(self) -> None:
        """The step is asked for from its first question on, maybe because the actor that had it is no more."""
        self._read = 0

    def recorded_reply(self) -> LMResponse | None:
        """The answer that there is to the next question already; None where it has to be asked."""
        if self._read == len(self._answers):
            return None
        answer = self._answers[self._read]
        self._read += 1
        return from_json(answer.encode()) if isinstance(answer, str) else answer

    def open_call(self) -> OpenCall | None:
        """The call that an earlier life had under way when it ended, if its answer can be asked for by an id."""
        call, self._open = self._open, None
        return call

    def replied(self, response: LMResponse) -> None:
        """A call got its answer."""
        self._answers.append(response)
        self._read += 1

    def fetched(self, call: OpenCall, response: LMResponse | None) -> None:
        """The answer to ``call``, which an earlier life had asked for, was asked for by its id.

        Raises CallUncertain if it is not there and the policy is not to ask again.
        """
        if self._history is not None:
            self._history.close(call)
        if response is None:
            self.log.append("uncertain", {"call": call.event, "policy": self._policy, "gone": True})
            self.log.doubt(call, self._policy)
            if self._policy != "rebuy":
                raise call_uncertain([call], self._policy)
            return
        nano = nano_dollars(response.cost) if response.cost is not None else None
        usage = response.usage
        self._untold.append([call.key, call.attempt, "paid", usage.input_tokens, usage.output_tokens, nano])
        self.nano_cost += nano or 0
        self.replied(response)

    def _doubt(self, intent: Intent, event: int, policy: UncertainPolicy) -> None:
        whom = (intent.key, intent.attempt, intent.endpoint, intent.request_hash)
        call = OpenCall(event, self.step, *whom, intent.nano_most, intent.tokens_most)
        self.log.doubt(call, policy)


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
