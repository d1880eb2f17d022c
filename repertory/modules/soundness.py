"""Soundness of a program: what about the modules it holds cannot be right, seen before anything runs."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from repertory.modules.module import Module, predictors_below


def check_program(program: Module) -> list[str]:
    """What is wrong with how the modules of ``program`` hold each other, each in one sentence with its remedy.

    A module that holds itself, directly or through others (fallbacks are held like any other), and paths that are
    those of several predictors. Nothing of the program's code is run.
    """
    return [*_circles(program), *_shared_paths(program)]


def _circles(program: Module) -> Iterator[str]:
    """The places where what is held leads back to one that holds it."""
    path: list[tuple[str, object]] = [("", program)]  # from the program to what is looked at
    under_way = {id(program)}
    finished: set[int] = set()
    members = [_members(program)]
    while members:
        step = next(members[-1], None)
        if step is None:
            members.pop()
            _, value = path.pop()
            under_way.discard(id(value))
            finished.add(id(value))
            continue
        name, value = step
        if id(value) in under_way:
            begin = next(number for number, (_, each) in enumerate(path) if each is value)
            yield _told(path, begin, name)
        elif id(value) not in finished:
            path.append((name, value))
            under_way.add(id(value))
            members.append(_members(value))


def _told(path: list[tuple[str, object]], begin: int, name: str) -> str:
    whole = "".join(step for step, _ in path[1:]) + name
    back = "".join(step for step, _ in path[1 : begin + 1]).removeprefix(".") or "the program"
    return (
        f"{whole.removeprefix('.')} leads back to {back}, which holds it: "
        "a module cannot hold itself, nor fall back on itself. Hold another one there."
    )


def _members(value: object) -> Iterator[tuple[str, Any]]:
    """What ``value`` holds that may be, or hold, a module; with how one gets there."""
    held: Iterable[tuple[str, object]]
    if isinstance(value, Module):
        named = ((f".{name}", member) for name, member in vars(value).items())
        held = chain(((".fallback", value.options.fallback),), named)
    elif isinstance(value, dict):
        held = ((f"[{key!r}]", member) for key, member in value.items())
    elif isinstance(value, list | tuple):
        held = ((f"[{position}]", member) for position, member in enumerate(value))
    else:
        return
    for name, member in held:
        if isinstance(member, Module | list | tuple | dict):
            yield name, member


def _shared_paths(program: Module) -> Iterator[str]:
    seen: set[str] = set()
    for path, _ in predictors_below("", program, set()):
        if path in seen:
            yield (
                f"{path} is the path of several predictors: only one of them would be started. "
                "Rename an attribute, or a key that reads like another one."
            )
        seen.add(path)
