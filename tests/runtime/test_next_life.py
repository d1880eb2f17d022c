"""What the next process knows of a run: that it was to stop, that it was begun anew, what a second model said."""

import json
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import insert, select

import repertory as rp
from repertory.clock import SystemClock
from repertory.errors import RunCancelled
from repertory.events import Hooks
from repertory.modules import TwoStepAdapter
from repertory.providers.endpoint import Endpoint
from repertory.providers.settings import EndpointSettings
from repertory.runtime.run_ids import run_id
from repertory.runtime.runtime import Runtime
from repertory.store import Store
from repertory.store.tables import run_events
from tests.endpoint import Hang, Reply, ScriptedEndpoint, Seen, Step
from tests.runtime.programs import Two, reply_to, requests_seen, runtime_for

SECONDS = 60


class OtherTwo(Two):
    """The same program with other code."""

    async def forward(self, text: str) -> rp.Prediction:
        first = await self.first(text=text)
        return await self.second(middle=first.middle)


async def cut_off(runtime: Runtime, server: ScriptedEndpoint, program: rp.Module, requests: int) -> str:
    """Have a run begun that is cut off when the server has been asked so often; return its id."""
    async with runtime:
        await runtime.start(program, name="p", changed="restart")
        await runtime.submit("p", {"text": "x"}, key="k")
        await requests_seen(server, requests)
    return run_id("p", "k")


async def test_a_run_that_was_to_stop_when_its_process_died_stops_in_the_next(tmp_path: Path) -> None:
    """What asked it to was recorded, and had been taken from the table by then."""
    path = tmp_path / "s.db"
    async with ScriptedEndpoint(lambda _: Hang()) as server:
        id = await cut_off(runtime_for(server, path), server, Two(), 1)
        await append(path, id, "cancel")
        async with runtime_for(server, path) as runtime:
            await runtime.start(Two(), name="p", changed="restart")
            handle = await runtime.find_run(id)
            with pytest.raises(RunCancelled):
                await handle.result(timeout=SECONDS)
            assert (await handle.status()).status == "cancelled"
            assert len(server.requests) == 1
            await handle.retry()
            await requests_seen(server, 1)  # it does not stop again


async def test_a_cancellation_is_among_the_events_of_its_run(tmp_path: Path) -> None:
    async with ScriptedEndpoint(lambda _: Hang()) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        await runtime.start(Two(), name="p")
        handle = await runtime.submit("p", {"text": "x"})
        await requests_seen(server, 1)
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await handle.result(timeout=SECONDS)
        kinds = [event.kind async for event in handle.events()]
        assert (kinds.count("cancel"), kinds[-1]) == (1, "done")


async def test_a_run_is_begun_anew_once_for_each_change_of_its_code(tmp_path: Path) -> None:
    path, asked = tmp_path / "s.db", list[Seen]()

    def script(seen: Seen) -> Step:
        asked.append(seen)
        return Hang() if len(asked) in (2, 4) else reply_to(seen)

    async with ScriptedEndpoint(script) as server:
        await cut_off(runtime_for(server, path), server, Two(), 2)
        id = await cut_off(runtime_for(server, path), server, OtherTwo(), 2)
        async with runtime_for(server, path) as runtime:
            await runtime.start(OtherTwo(), name="p", changed="restart")
            prediction = await (await runtime.find_run(id)).result(timeout=SECONDS)
        assert prediction.answer == "amx"
        questions = [seen.last_message.partition(": ")[0] for seen in asked]
        assert questions == ["text", "middle", "text", "middle", "middle"]


async def test_what_a_second_model_said_is_not_asked_of_it_again(tmp_path: Path) -> None:
    """One answers, another one reads the answer; the correction of what that says is cut off."""
    path = tmp_path / "s.db"
    said: list[Step] = [Reply("It is three."), Reply('{"number": "many"}'), Hang(), Reply('{"number": 3}')]
    async with ScriptedEndpoint(said) as server:
        reader = Endpoint(
            EndpointSettings("reader", "m", server.url, attempts=1),
            clock=SystemClock(),
            hooks=Hooks([]),
            rng=Random(1),
        )
        program = rp.Predict("text -> number: int", adapter=TwoStepAdapter(reader=reader))
        id = await cut_off(runtime_for(server, path), server, program, 3)
        async with runtime_for(server, path) as runtime:
            await runtime.start(program, name="p")
            assert (await (await runtime.find_run(id)).result(timeout=SECONDS)).number == 3
            assert len(server.requests) == len(said)
            assert server.requests[-1].body == server.requests[-2].body
            assert len(await runtime.runs.uncertain(id, 10)) == 1
        await reader.close()


async def append(path: Path, run: str, kind: str) -> None:
    """Have a run's process say a last thing."""
    store = await Store.open(path)
    try:
        of_run = select(run_events).where(run_events.c.run_id == run).order_by(run_events.c.id)
        last = (await store.read(of_run))[-1]
        values = {"run_id": run, "id": last.id + 1, "kind": kind, "data": json.dumps({}), "at": last.at}
        await store.write(insert(run_events), values)
    finally:
        await store.close()
