"""What an actor weighs: resident memory over 100,000 supervised actors, each state in a process of its own.

    python -m benchmarks.actors_memory idle 100000 5000 asyncio

prints the bytes per actor. ``idle``: started, has handled one message, waits for the next. ``lazy``: never had a
message and no life yet; ``lazy_by_template``: the same, without a specification of its own. ``passivated``: had a
message, then none for a while, and its object was dropped.

An actor at work is larger than one at rest, and CPython seldom gives back to the system what it once had. So the
actors come in waves: each does its work and comes to rest before the next one begins. A wave that is not counted
goes before them all, since what actors at work need is there to be used again by the next ones.
"""

import asyncio
import gc
import os
import resource
import subprocess
import sys
from pathlib import Path
from time import monotonic

from benchmarks.actors_messages import Echo, Echoer
from benchmarks.timing import Sample, loop_factories, loop_name
from repertory.actors import ActorRef, ActorSystem
from repertory.supervisors import ChildSpec, DynamicSupervisor, StartChild

ACTORS = 100_000
WAVE = 5_000
PASSIVATE_AFTER = 0.2  # seconds without a message
PATIENCE = 5.0  # seconds a wave is given to come to rest
FEW_TASKS = 10  # left when it has


async def bytes_per_actor(scale: int) -> Sample:
    """Resident memory of an actor at rest, and of one without a life: of those that never had one, or that had."""
    # Side by side: most of the time they wait for their actors to come to rest.
    actors, wave = ACTORS // scale, WAVE
    processes = {
        "idle": _start("idle", actors, wave),
        "burst": _start("idle", actors, actors),
        "lazy": _start("lazy", actors, wave),
        "template": _start("lazy_by_template", actors, wave),
        "passivated": _start("passivated", actors, wave),
    }
    weights = {name: _result(process) for name, process in processes.items()}
    return {
        "idle_bytes": weights["idle"],
        "idle_bytes.all_in_one_wave": weights["burst"],
        "passivated_bytes": max(weights["lazy"], weights["passivated"]),
        "passivated_bytes.lazy": weights["lazy"],
        "passivated_bytes.lazy_by_template": weights["template"],
        "passivated_bytes.after_a_message": weights["passivated"],
    }


def _start(state: str, actors: int, wave: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.actors_memory", state, str(actors), str(wave), loop_name()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> float:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("a process that measures memory has failed")
    return float(output)


async def _bytes_per_actor(state: str, actors: int, wave: int) -> float:
    system = ActorSystem()
    template = ChildSpec(id="template", start=Echoer, lazy=True) if state == "lazy_by_template" else None
    supervisor = await system.spawn(lambda: DynamicSupervisor(template=template), name="root")
    await _populate(supervisor, state, range(-WAVE, 0))
    await _come_to_rest(system, state, range(-WAVE, 0))
    before = _resident()
    for first in range(0, actors, wave):
        await _populate(supervisor, state, range(first, first + wave))
        await _come_to_rest(system, state, range(first, first + wave))
    running = sum(system.ref(f"root/{number}").running for number in range(actors))
    if running != (actors if state == "idle" else 0):
        raise RuntimeError(f"{running} of {actors} actors run; wanted: {state}")
    return (_resident() - before) / actors


async def _populate(supervisor: ActorRef, state: str, numbers: range) -> None:
    passivate_after = PASSIVATE_AFTER if state == "passivated" else None
    for number in numbers:
        if state == "lazy_by_template":
            await supervisor.ask(StartChild(id=str(number)), timeout=None)
            continue
        spec = ChildSpec(id=str(number), start=Echoer, lazy=state == "lazy", passivate_after=passivate_after)
        ref = await supervisor.ask(StartChild(spec), timeout=None)
        if state != "lazy":
            await ref.ask(Echo(number))


async def _come_to_rest(system: ActorSystem, state: str, numbers: range) -> None:
    until = monotonic() + PATIENCE
    while monotonic() < until:
        running = state == "passivated" and any(system.ref(f"root/{number}").running for number in numbers)
        if not running and len(asyncio.all_tasks()) <= FEW_TASKS:
            return
        await asyncio.sleep(0.1)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Measure and print."""
    state, actors, wave, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=loop_factories()[loop]) as runner:
        print(runner.run(_bytes_per_actor(state, int(actors), int(wave))), flush=True)
        os._exit(0)  # to stop 100,000 actors takes its time and tells nothing


if __name__ == "__main__":
    main()
