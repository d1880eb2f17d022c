"""What one life knows of its state: commits, events, snapshots, and the lives that come after it."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, sampled_from, text, tuples
from pydantic import BaseModel, ConfigDict, Field

from repertory.actors import Actor
from repertory.actors.persistence import Persistence
from repertory.errors import StaleState, StoreError, StoreTooNew
from repertory.store import MemoryStates, States, StateTable, Store, StoredEvent, StoredState
from tests.store.conftest import new_location, postgres, sqlite_file

__all__ = ["postgres", "sqlite_file"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Account(Frozen):
    total: int = 0
    notes: tuple[str, ...] = ()


class Paid(Frozen):
    amount: int


class Drawn(Frozen):
    """Has the same fields as Paid: only its name tells them apart."""

    amount: int


class Noted(Frozen):
    kind: Literal["noted"] = "noted"
    text: str = Field(alias="theText")


Events = Paid | Drawn | Noted


class Refused(Exception):
    pass


def apply(state: Account, event: Events) -> Account:
    match event:
        case Paid(amount=amount):
            return state.model_copy(update={"total": state.total + amount})
        case Drawn(amount=amount) if amount > state.total:
            raise Refused
        case Drawn(amount=amount):
            return state.model_copy(update={"total": state.total - amount})
        case Noted(text=noted):
            return state.model_copy(update={"notes": (*state.notes, noted)})


def new_life(states: States | None, snapshot_every: int = 100, **options: Any) -> Persistence[Account]:
    known: dict[str, Any] = {"events": Events, "apply": apply, "snapshot_every": snapshot_every, **options}
    return Persistence(states, "account", Account, 1, **known)


async def loaded(states: States | None, snapshot_every: int = 100, **options: Any) -> Persistence[Account]:
    life = new_life(states, snapshot_every, **options)
    await life.load({})
    return life


@pytest.fixture
def states() -> MemoryStates:
    return MemoryStates()


def ended_at_once(work: Coroutine[Any, Any, None]) -> bool:
    try:
        work.send(None)
    except StopIteration:
        return True
    work.close()
    return False


# --- without a database ---


async def test_nothing_suspends_without_a_database(states: MemoryStates) -> None:
    for _ in range(2):
        life = new_life(states, snapshot_every=2)
        assert ended_at_once(life.load({}))
        assert ended_at_once(life.commit(Account(total=life.state.total + 1)))
        assert all(ended_at_once(life.record(Paid(amount=10))) for _ in range(3))
    assert life.state == Account(total=62)


async def test_a_life_without_states_keeps_its_state_for_itself() -> None:
    life = await loaded(None)
    await life.commit(Account(total=1))
    await life.record(Paid(amount=2))
    assert life.state == Account(total=3)
    assert (await loaded(None)).state == Account()


async def test_a_life_at_rest_holds_no_lock(states: MemoryStates) -> None:
    life = await loaded(states)
    await asyncio.gather(*(life.record(Paid(amount=1)) for _ in range(5)))
    assert life.state.total == 5
    assert life._turn is None
    assert not hasattr(life, "__dict__")


# --- events ---


async def test_the_next_life_has_every_recorded_event(states: MemoryStates) -> None:
    life = await loaded(states)
    for event in (Paid(amount=5), Drawn(amount=2), Noted(theText="ü"), Paid(amount=1)):
        await life.record(event)
    assert life.state == Account(total=4, notes=("ü",))
    assert (await loaded(states)).state == life.state
    assert await states.load("account") == StoredState(
        4,
        1,
        None,
        (
            StoredEvent(1, '{"Paid":{"amount":5}}'),
            StoredEvent(1, '{"Drawn":{"amount":2}}'),
            StoredEvent(1, '{"Noted":{"kind":"noted","theText":"ü"}}'),
            StoredEvent(1, '{"Paid":{"amount":1}}'),
        ),
    )


@pytest.mark.parametrize("every", [1, 2, 3, 7])
async def test_a_snapshot_is_taken_every_so_many_events(states: MemoryStates, every: int) -> None:
    life = await loaded(states, every)
    for number in range(1, 15):
        await life.record(Paid(amount=1))
        if number % 5 == 0:
            life = await loaded(states, every)  # counting goes on where the life before was
        stored = await states.load("account")
        assert stored is not None
        assert (stored.revision, len(stored.events)) == (number, number % every)
        assert (stored.data is None) == (number < every)


async def test_a_commit_is_a_snapshot(states: MemoryStates) -> None:
    life = await loaded(states, 3)
    for _ in range(2):
        await life.record(Paid(amount=1))
    await life.commit(Account(total=100))
    for _ in range(2):
        await life.record(Paid(amount=1))
    stored = await states.load("account")
    assert stored is not None
    assert (stored.revision, len(stored.events)) == (5, 2)
    assert (await loaded(states)).state == Account(total=102)


async def test_an_event_that_apply_refuses_is_not_written(states: MemoryStates) -> None:
    life = await loaded(states)
    await life.record(Paid(amount=1))
    with pytest.raises(Refused):
        await life.record(Drawn(amount=2))
    assert life.state == Account(total=1)
    stored = await states.load("account")
    assert stored is not None
    assert stored.revision == 1
    await life.record(Drawn(amount=1))
    assert (await loaded(states)).state == Account()


async def test_an_apply_that_returns_no_state_is_an_error_and_nothing_is_written(states: MemoryStates) -> None:
    life = await loaded(states, apply=lambda state, event: None)
    with pytest.raises(TypeError, match="account: apply must return a Account, it returned a NoneType"):
        await life.record(Paid(amount=1))
    assert await states.load("account") is None


class Other(Frozen):
    amount: int


class Subpaid(Paid):
    pass


@pytest.mark.parametrize("event", [Other(amount=1), Subpaid(amount=1)])
async def test_an_event_that_was_not_declared_is_refused(states: MemoryStates, event: BaseModel) -> None:
    life = await loaded(states)
    with pytest.raises(TypeError, match="is not a declared event; declared: Paid, Drawn, Noted"):
        await life.record(event)
    assert await states.load("account") is None


async def test_a_life_without_events_records_none(states: MemoryStates) -> None:
    life = await loaded(states, events=None)
    with pytest.raises(TypeError, match="account: it declares no events"):
        await life.record(Paid(amount=1))


@pytest.mark.parametrize(
    "declared", [Paid, Paid | Drawn, Annotated[Paid | Noted, Field(discriminator="kind")], Events | Other]
)
async def test_events_are_declared_as_a_type_or_a_union(states: MemoryStates, declared: Any) -> None:
    life = await loaded(states, events=declared)
    await life.record(Paid(amount=3))
    assert (await loaded(states, events=declared)).state.total == 3


def test_declarations_that_cannot_work_are_refused() -> None:
    with pytest.raises(TypeError, match="apply is missing"):
        new_life(None, apply=None)
    with pytest.raises(ValueError, match="snapshot_every = 0"):
        new_life(None, 0)
    namesake = type("Paid", (Frozen,), {})
    with pytest.raises(TypeError, match="the same name"):
        new_life(None, events=Paid | namesake)


# --- what is stored and no longer fits ---


def tripled(data: dict[str, Any]) -> dict[str, Any]:
    (fields,) = data.values()
    return {"Paid": {"amount": 3 * fields["amount"]}}


async def test_events_are_migrated_step_by_step_like_the_snapshot(states: MemoryStates) -> None:
    await states.save("account", 0, 1, '{"sum": 1}')
    await states.append("account", 1, 1, '{"Payed": {"money": 10}}')
    await states.append("account", 2, 2, '{"Paid": {"amount": 100}}')
    await states.append("account", 3, 3, '{"Paid": {"amount": 1000}}')
    life = Persistence(
        states,
        "account",
        Account,
        3,
        events=Events,
        apply=apply,
        event_migrations={1: lambda data: {"Paid": {"amount": data["Payed"]["money"]}}, 2: tripled},
    )
    await life.load({1: lambda data: {"total": data["sum"]}, 2: lambda data: {"total": data["total"] * 7}})
    assert life.state == Account(total=7 + 30 + 300 + 1000)
    await life.record(Paid(amount=1))
    stored = await states.load("account")
    assert stored is not None
    assert stored.events[-1].schema_version == 3


@pytest.mark.parametrize(
    ("version", "data", "error", "says"),
    [
        (2, "{}", StoreTooNew, "account: a stored event has schema version 2, this program knows 1"),
        (0, "{}", StoreError, "there is no migration from schema version 0"),
        (1, "not json", StoreError, "account: a stored event fits none of Paid, Drawn, Noted"),
        (1, "[]", StoreError, "account: a stored event fits none"),
        (1, "{}", StoreError, "account: a stored event fits none"),
        (1, '{"Lost":{}}', StoreError, "account: a stored event fits none of Paid, Drawn, Noted: 'Lost'"),
        (1, '{"Paid":{"amount":"many"}}', StoreError, "account: a stored event fits none"),
        (1, '{"Drawn":{"amount":1}}', StoreError, "account: a stored Drawn cannot be applied again: Refused"),
    ],
)
async def test_a_stored_event_that_does_not_fit_is_refused(
    states: MemoryStates, version: int, data: str, error: type[StoreError], says: str
) -> None:
    await states.append("account", 0, version, data)
    with pytest.raises(error, match=says) as caught:
        await loaded(states)
    assert type(caught.value) is error
    assert caught.value.hint


async def test_stored_events_without_a_declaration_are_refused(states: MemoryStates) -> None:
    await (await loaded(states)).record(Paid(amount=1))
    with pytest.raises(StoreError, match="it has stored events, but this program declares none"):
        await loaded(states, events=None)


async def test_a_model_with_aliases_and_computed_input_comes_back(states: MemoryStates) -> None:
    class Aliased(Frozen):
        model_config = ConfigDict(extra="forbid")
        total: int = Field(0, alias="theTotal")

    life = Persistence(states, "aliased", Aliased, 1)
    await life.load({})
    await life.commit(Aliased(theTotal=5))
    again = Persistence(states, "aliased", Aliased, 1)
    await again.load({})
    assert again.state.total == 5


# --- lives that overtake each other ---


async def test_a_fenced_life_writes_nothing_more_even_before_its_replacement_does(states: MemoryStates) -> None:
    left_behind = await loaded(states)
    await left_behind.commit(Account(total=1))
    left_behind.fence()
    replacement = await loaded(states)
    with pytest.raises(StaleState, match="account: this life was left behind"):
        await left_behind.commit(Account(total=100))
    with pytest.raises(StaleState, match="account: this life was left behind"):
        await left_behind.record(Paid(amount=1))
    assert left_behind.state == Account(total=1)
    await replacement.record(Paid(amount=1))
    assert (await loaded(states)).state == Account(total=2)


async def test_a_life_overtaken_by_another_neither_commits_nor_records(states: MemoryStates) -> None:
    stale, newer = await loaded(states), await loaded(states)
    await newer.record(Paid(amount=1))
    with pytest.raises(StaleState, match="no longer at revision 0"):
        await stale.record(Paid(amount=10))
    with pytest.raises(StaleState, match="no longer at revision 0"):
        await stale.commit(Account(total=10))
    assert stale.state == Account()
    await newer.commit(Account(total=5))
    assert (await loaded(states)).state == Account(total=5)


class Held(MemoryStates):
    """Its writes are done when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    def append(self, path: str, expected_revision: int, schema_version: int, data: str) -> asyncio.Future[int]:
        return asyncio.ensure_future(self._append(path, expected_revision, schema_version, data))

    async def _append(self, path: str, expected_revision: int, schema_version: int, data: str) -> int:
        await self.open.wait()
        return await super().append(path, expected_revision, schema_version, data)


async def test_those_queued_behind_a_write_are_fenced_off_the_write_itself_is_not() -> None:
    states = Held()
    life = await loaded(states)
    writes = [asyncio.create_task(life.record(Paid(amount=1))) for _ in range(3)]
    await asyncio.sleep(0)
    life.fence()
    states.open.set()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType", "StaleState", "StaleState"]
    assert (await loaded(states)).state == life.state == Account(total=1)


async def test_a_caller_cancelled_twice_hears_of_it_when_its_write_is_done() -> None:
    states = Held()
    life = await loaded(states)
    writing = asyncio.create_task(life.record(Paid(amount=1)))
    waiting = asyncio.create_task(life.record(Paid(amount=10)))
    for _ in range(2):
        await asyncio.sleep(0)
        writing.cancel()
        waiting.cancel()
    await asyncio.sleep(0)
    assert [writing.done(), waiting.done()] == [False, True]
    states.open.set()
    await asyncio.wait([writing])
    assert writing.cancelled()
    assert waiting.cancelled()
    assert life.state == Account(total=1)
    await life.record(Paid(amount=100))
    assert (await loaded(states)).state == Account(total=101)
    gc.collect()


# --- any history, with a crash at any point ---

STEPS = lists(
    tuples(sampled_from(["pay", "draw", "note", "commit"]), integers(0, 9), text(max_size=3), booleans()),
    max_size=30,
)
Step = tuple[str, int, str, bool]


async def check(states: States, steps: list[Step], every: int, path: str) -> None:
    """Every life, wherever the one before it ended, has the state of all events applied one after the other."""

    async def begin() -> Persistence[Account]:
        life = Persistence(states, path, Account, 1, events=Events, apply=apply, snapshot_every=every)
        await life.load({})
        return life

    life, expected, revision = await begin(), Account(), 0
    for what, number, note, crash in steps:
        if what == "commit":
            expected = Account(total=number, notes=(note,))
            await life.commit(expected)
        else:
            events: dict[str, Events] = {
                "pay": Paid(amount=number),
                "draw": Drawn(amount=number),
                "note": Noted(theText=note),
            }
            event = events[what]
            try:
                expected = apply(expected, event)
            except Refused:
                with pytest.raises(Refused):
                    await life.record(event)
                continue
            await life.record(event)
        revision += 1
        after = await begin()  # as if the process had ended here
        assert after.state == life.state == expected
        stored = await states.load(path)
        assert stored is not None
        assert stored.revision == revision
        assert len(stored.events) < every
        if crash:
            old, life = life, after
            old.fence()


@given(steps=STEPS, every=integers(1, 6))
def test_replaying_any_history_in_memory_gives_its_state(steps: list[Step], every: int) -> None:
    asyncio.run(check(MemoryStates(), steps, every, "a"))


@pytest.fixture(params=["sqlite", "postgresql"])
def in_database(request: pytest.FixtureRequest) -> Iterator[Callable[[list[Step], int], None]]:
    """Runs a history at a path of its own."""
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(new_location(request.param, request)))
        paths = iter(range(1_000_000))
        yield lambda steps, every: runner.run(check(StateTable(store), steps, every, f"a{next(paths)}"))
        runner.run(store.close())


def test_replaying_any_history_in_a_database_gives_its_state(
    in_database: Callable[[list[Step], int], None],
) -> None:
    settings(max_examples=30)(given(steps=STEPS, every=integers(1, 6))(in_database))()


def test_an_actor_that_declares_events_has_to_say_what_they_do() -> None:
    with pytest.raises(TypeError, match=r"Recording declares events but does not define apply\(state, event\)"):
        type("Recording", (Actor,), {"events": Events})
