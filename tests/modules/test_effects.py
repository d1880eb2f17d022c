"""What a program does besides asking models: the same within a run and outside of it, and not while traced."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import ConfigError, LMServerError, ProgramError
from tests.runtime.asks import Asks, Scripted, runtime_of

PLACES = ["durable", "not durable", "no run"]


async def done_in(place: str, store: Path, forward: Any) -> Any:
    """What ``forward`` gives in a run that is recorded, in one that is not, and outside of any."""
    if place == "no run":
        return await forward(None, "x")
    async with runtime_of(Scripted(), store if place == "durable" else None) as runtime:
        return await (await runtime.start(Asks(forward), name="asks"))(text="x")


class Odd:
    pass


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("value", "read"),
    [((1, 2), [1, 2]), ({1: 2}, {"1": 2}), (math.nan, None), (2**70, 2**70), (datetime(2020, 1, 1), None)],
    ids=["tuple", "keys", "nan", "large", "date"],
)
async def test_what_a_step_returns_comes_back_as_json_has_it(
    tmp_path: Path, place: str, value: Any, read: Any
) -> None:
    async def forward(self: Any, text: str) -> Any:
        return rp.Prediction(out=await rp.step("s", lambda: value))

    out = (await done_in(place, tmp_path / "s.db", forward)).out
    assert out == ("2020-01-01T00:00:00" if isinstance(value, datetime) else read)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [Odd(), "\ud800", b"\xff"], ids=["object", "surrogate", "bytes"])
async def test_what_json_cannot_hold_is_refused_by_name(tmp_path: Path, place: str, value: Any) -> None:
    async def forward(self: Any, text: str) -> Any:
        with pytest.raises(ProgramError, match="step 's' returned what JSON cannot hold"):
            await rp.step("s", lambda: value)
        if place != "no run":
            with pytest.raises(ProgramError, match="step 's' was given what JSON cannot hold"):
                await rp.step("s", str, value)
        return rp.Prediction()

    await done_in(place, tmp_path / "s.db", forward)


@pytest.mark.parametrize("place", PLACES)
async def test_a_steps_own_mishap_is_told_alike_everywhere(tmp_path: Path, place: str) -> None:
    def raises(error: BaseException) -> Any:
        def function() -> None:
            raise error

        return function

    async def forward(self: Any, text: str) -> Any:
        with pytest.raises(ProgramError, match="step 's' raised KeyError: 'x'") as caught:
            await rp.step("s", raises(KeyError("x")))
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(ProgramError, match="step 's' raised SystemExit: 3"):
            await rp.gather(rp.step("s", raises(SystemExit(3))))
        with pytest.raises(LMServerError):
            await rp.step("s", raises(LMServerError("no")))
        return rp.Prediction()

    await done_in(place, tmp_path / "s.db", forward)


async def test_a_step_may_be_given_references(tmp_path: Path) -> None:
    async def forward(self: Any, text: str) -> Any:
        asked = self.a(a=text)
        return rp.Prediction(
            out=await rp.step("s", lambda *parts, more: [*parts, more], asked.out, more=asked.out)
        )

    assert (await done_in("durable", tmp_path / "s.db", forward)).out == ["ok", "ok"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("when", [datetime(2020, 1, 1), math.nan, math.inf])
async def test_what_is_no_point_in_time_is_refused(tmp_path: Path, place: str, when: Any) -> None:
    async def forward(self: Any, text: str) -> Any:
        with pytest.raises(ConfigError, match="sleep_until: "):
            await rp.sleep_until(when)
        return rp.Prediction()

    await done_in(place, tmp_path / "s.db", forward)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("when", [0, -5.0, datetime(2020, 1, 1, tzinfo=UTC)])
async def test_a_time_that_has_passed_is_not_waited_for(tmp_path: Path, place: str, when: Any) -> None:
    async def forward(self: Any, text: str) -> Any:
        await rp.sleep_until(when)
        return rp.Prediction()

    await done_in(place, tmp_path / "s.db", forward)


@pytest.mark.parametrize("place", PLACES)
async def test_only_a_submitted_run_can_be_sent_a_signal(tmp_path: Path, place: str) -> None:
    async def forward(self: Any, text: str) -> Any:
        with pytest.raises(ProgramError, match=r"wait_for_signal\('go'\)"):
            await rp.wait_for_signal("go")
        return rp.Prediction()

    await done_in(place, tmp_path / "s.db", forward)


async def test_a_signal_may_come_before_the_run_begins() -> None:
    async def forward(self: Any, text: str) -> Any:
        return rp.Prediction(out=await rp.wait_for_signal("go"))

    async with runtime_of(Scripted()) as runtime:
        await runtime.start(Asks(forward), name="asks")
        handle = await runtime.submit("asks", {"text": "x"}, durable=False)
        await handle.signal("go", 7)
        assert (await handle.result(timeout=60)).out == 7


@pytest.mark.parametrize("what", ["step", "sleep_until", "wait_for_signal"])
@pytest.mark.parametrize("within_a_run", [True, False])
async def test_nothing_is_done_while_a_program_is_traced(tmp_path: Path, what: str, within_a_run: bool) -> None:
    done = []

    async def traced(self: Any, text: str) -> Any:
        match what:
            case "step":
                await rp.step("s", lambda: done.append(text))
            case "sleep_until":
                await rp.sleep_until(0)
            case _:
                await rp.wait_for_signal("go")
        return await self.a(a=text)

    async def forward(self: Any, text: str) -> Any:
        with pytest.raises(ProgramError, match=rf"cannot be traced: .*{what}.* is not done while"):
            rp.Graph.trace(Asks(traced))
        return rp.Prediction()

    await done_in("durable" if within_a_run else "no run", tmp_path / "s.db", forward)
    assert done == []
