"""What could not be read again is not written: a state that does not load leaves an actor no next life."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from repertory.actors.persistence import Persistence
from repertory.store import MemoryStates


class Score(BaseModel):
    best: float = Field(0.0, ge=0)


unchecked: Any = Score.model_construct


class Improved(BaseModel):
    by: float


class Other(BaseModel):
    best: float = 0.0


@pytest.fixture
def states() -> MemoryStates:
    return MemoryStates()


async def loaded(states: MemoryStates) -> Persistence[Score]:
    life = Persistence(states, "score", Score, 1, events=Improved, apply=lambda state, event: state)
    await life.load({})
    return life


@pytest.mark.parametrize(
    "state",
    [
        Score(best=float("inf")),  # JSON has no infinity: it would be written as null
        unchecked(best="abc"),
        Score(best=1).model_copy(update={"best": -1.0}),
        unchecked(best="\ud800"),  # is not even text
    ],
    ids=["inf", "type", "bound", "surrogate"],
)
async def test_a_state_that_could_not_be_read_again_is_not_written(states: MemoryStates, state: Score) -> None:
    life = await loaded(states)
    await life.commit(Score(best=1))
    with pytest.raises(ValueError):  # noqa: PT011  # pydantic says it in words of its own
        await life.commit(state)
    assert life.state == Score(best=1)
    await life.commit(Score(best=2))  # the revision is that of the last one that was written
    assert (await loaded(states)).state == Score(best=2)


@pytest.mark.parametrize("state", [Other(best=1), {"best": 1}, None])
async def test_a_state_of_another_model_is_not_written(states: MemoryStates, state: Any) -> None:
    life = await loaded(states)
    with pytest.raises(TypeError, match=f"score: its state is a Score, it would commit a {type(state).__name__}"):
        await life.commit(state)
    assert await states.load("score") is None
    assert life.state == Score()


@pytest.mark.parametrize("by", [float("nan"), "much"])
async def test_an_event_that_could_not_be_read_again_is_not_recorded(states: MemoryStates, by: Any) -> None:
    life = await loaded(states)
    with pytest.raises(ValueError, match="this Improved could not be read again: 1 validation error"):
        await life.record(Improved.model_construct(by=by))
    assert await states.load("score") is None


class Exact(BaseModel):
    """Has fields that JSON tells in a way of its own."""

    model_config = ConfigDict(strict=True, ser_json_bytes="base64", val_json_bytes="base64")

    at: datetime | None = None
    key: bytes = b""
    number: int = 0


async def test_what_was_written_is_read_as_json_after_a_migration_too(states: MemoryStates) -> None:
    first = Persistence(states, "exact", Exact, 1)
    await first.load({})
    exact = Exact(at=datetime(2026, 1, 1, tzinfo=UTC), key=b"\x00\xff", number=2**70 + 1)
    await first.commit(exact)
    same, migrated = Persistence(states, "exact", Exact, 1), Persistence(states, "exact", Exact, 2)
    await same.load({})
    assert same.state == exact
    await migrated.load({1: lambda data: {**data, "key": "/wA="}})
    assert migrated.state == exact.model_copy(update={"key": b"\xff\x00"})
