"""Hooks: who listens, and what a listener's mishap does to the others."""

from repertory.events import ActorStarted, Event, HookFailed, Hooks

STARTED = ActorStarted("a", 1)


def test_every_hook_gets_every_event_in_order() -> None:
    seen: list[tuple[str, Event]] = []
    hooks = Hooks([lambda event: seen.append(("first", event))])
    hooks.add(lambda event: seen.append(("second", event)))
    hooks.emit(STARTED)
    assert seen == [("first", STARTED), ("second", STARTED)]


def test_nobody_listening_is_false() -> None:
    assert not Hooks()
    assert Hooks([lambda _: None])


def test_a_failing_hook_is_told_of_once_and_reaches_nobody_else() -> None:
    def broken(event: Event) -> None:
        raise ValueError("no room")

    seen: list[Event] = []
    hooks = Hooks([broken, seen.append])
    hooks.emit(STARTED)
    hooks.emit(STARTED)
    failed = [event for event in seen if isinstance(event, HookFailed)]
    assert [str(event.cause) for event in failed] == ["no room"]
    assert "broken" in failed[0].hook
    assert seen.count(STARTED) == 2
