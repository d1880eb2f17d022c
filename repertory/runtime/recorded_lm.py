"""A language model whose answers are recorded: what an earlier life of the run was answered is not asked again."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from repertory.errors import LMReplyMalformed
from repertory.providers.lm import LM
from repertory.providers.messages import Delta, End, LMRequest, LMResponse, SchemaDialect, TextDelta
from repertory.runtime.history import OpenCall
from repertory.runtime.step_witness import StepWitness


@runtime_checkable
class _Route(Protocol):
    """A model made of several endpoints, which knows them by their names."""

    policy: object

    async def fetch(
        self, endpoint: str, response_id: str, deadline: float, request: LMRequest | None = None
    ) -> LMResponse | None: ...


class RecordedLM:
    """``lm`` as one step asks it.

    Args:
        streams: Whether the pieces of an answer go into the log as they come.
    """

    __slots__ = ("_lm", "_streams", "_witness", "name", "schema_dialect")

    def __init__(self, lm: LM, witness: StepWitness, *, streams: bool = False) -> None:
        self.name = lm.name
        self.schema_dialect: SchemaDialect | None = lm.schema_dialect
        self._lm = lm
        self._witness = witness
        self._streams = streams

    async def complete(self, request: LMRequest) -> LMResponse:
        """As `LM.complete`."""
        witness = self._witness
        if (recorded := witness.recorded_reply()) is not None:
            return recorded
        if (call := witness.open_call()) is not None:
            found = await self._fetch(call, request)
            witness.fetched(call, found)
            if found is not None:
                return found
        if self._streams:
            response = await self._streamed(request)
        else:
            response = await self._lm.complete(request)
        witness.replied(response)
        return response

    def stream(self, request: LMRequest) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """As `LM.stream`."""
        return self._lm.stream(request)

    async def close(self) -> None:
        """Leave ``lm`` to its owner."""

    async def _streamed(self, request: LMRequest) -> LMResponse:
        witness = self._witness
        log, step = witness.log, witness.step
        if witness.streamed:
            log.append("reset", step.data())
        witness.streamed = True
        async with self._lm.stream(request) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    log.append_delta(step, delta.text)
                elif isinstance(delta, End):
                    return delta.response
        raise LMReplyMalformed(f"{self.name}: the stream ended without its end", endpoint=self.name)

    async def _fetch(self, call: OpenCall, request: LMRequest) -> LMResponse | None:
        """The answer to ``call``, if its provider has it."""
        fetch = getattr(self._lm, "fetch", None)
        if fetch is None or call.response_id is None:
            return None
        where = (call.endpoint,) if isinstance(self._lm, _Route) else ()
        found: LMResponse | None = await fetch(*where, call.response_id, request.deadline, request)
        return found
