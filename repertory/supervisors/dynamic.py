"""The dynamic supervisor: any number of equal children that come and go.

Semantics: Erlang/OTP ``supervisor``, "simple_one_for_one"; ``max_children`` as Elixir's ``DynamicSupervisor``.
"""

import asyncio
from typing import ClassVar

from repertory.actors import SHUTDOWN, ActorRef, Cell, handles
from repertory.actors.spec import is_count, refuse
from repertory.errors import ChildLimitReached, ConfigError
from repertory.supervisors.backoff import Backoff
from repertory.supervisors.child import ChildSpec, is_child_id
from repertory.supervisors.messages import StartChild
from repertory.supervisors.parent import patience_of
from repertory.supervisors.supervisor import Supervisor


class DynamicSupervisor(Supervisor):
    """A one_for_one supervisor that begins without children; each is added and taken away in constant time.

    A child that ends for good, or is stopped, is forgotten, whatever its ``restart``. All children are stopped
    at the same time, each within its own timeout.

    Args:
        template: What each child is; `StartChild` then names an id and further arguments of ``start``. None:
            each `StartChild` brings a spec of its own.
        max_children: How many there may be; None: any number.

    Raises ConfigError naming the argument.
    """

    keeps_stopped: ClassVar[bool] = False

    def __init__(
        self,
        *,
        template: ChildSpec | None = None,
        max_children: int | None = None,
        intensity: int = 5,
        period: float = 10.0,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(intensity=intensity, period=period, backoff=backoff)
        if max_children is not None and not is_count(max_children, 1):
            refuse("DynamicSupervisor", "max_children", max_children, "a whole number, at least 1, or None")
        if template is not None:
            if not isinstance(template, ChildSpec):
                refuse("DynamicSupervisor", "template", template, "a ChildSpec, or None")
            _refuse_significance("DynamicSupervisor: template", template)
        self._template = template
        self._max_children = max_children
        self._number = 0

    @handles(StartChild)
    async def start_child(self, message: StartChild) -> ActorRef:
        """Start a further child."""
        if self._max_children is not None and len(self._cells) >= self._max_children:
            raise ChildLimitReached(
                f"{self.path} has {self._max_children} children already",
                hint="Stop one, or raise max_children.",
            )
        if message.spec is not None:
            return await self._start_own(message, message.spec)
        template = self._template
        if template is None:
            raise ConfigError(
                f"{self.path}: StartChild has spec = None, and there is no template", hint="Pass a ChildSpec."
            )
        id = message.id if message.id is not None else self._next_id()
        if not is_child_id(id):
            raise ConfigError(f"{self.path}: StartChild: id = {id!r}", hint="It must be a name without '/'.")
        spec = template.with_arguments(message.args) if message.args else template
        cell = await self._add(id, spec)
        if message.args:
            self._drop_arguments(id, cell, template)
        return cell.ref

    async def _start_own(self, message: StartChild, spec: ChildSpec) -> ActorRef:
        if self._template is not None:
            raise ConfigError(
                f"{self.path}: StartChild has spec = {spec!r}, but all children are made by a template",
                hint="Send StartChild(id=..., args=...).",
            )
        if message.id is not None or message.args:
            raise ConfigError(
                f"{self.path}: StartChild has id = {message.id!r}, args = {message.args!r} beside a spec",
                hint="Name the id in the spec; args are for a template.",
            )
        _refuse_significance(self.path, spec)
        return (await self._add(spec.id, spec)).ref

    def _drop_arguments(self, id: str, cell: Cell, template: ChildSpec) -> None:
        """Arguments are kept only where another life may need them: they may be large, the children many."""
        if id in self._cells:
            self._restarts.specs[id] = template
            if template.restart == "temporary" and template.passivate_after is None and not template.lazy:
                cell.spec = template

    def _next_id(self) -> str:
        self._number += 1
        while (id := str(self._number)) in self._cells:
            self._number += 1
        return id

    async def _stop_children(self) -> None:
        """Stop all children at the same time."""
        for id in list(self._retries):
            self._drop_retry(id)
        stops = []
        try:
            for cell in self._cells.values() if not self._life.forced else ():
                stop = cell.stop(SHUTDOWN, patience_of(cell))
                life = cell.life or cell.starting
                if life is not None and (life.runners or life.background):
                    stops.append(asyncio.ensure_future(stop))
                else:  # at rest: it ends without anything to wait for, and needs no task for that
                    await stop
            await asyncio.gather(*stops)
            self._cells.clear()
        finally:
            await self._kill_children()


def _refuse_significance(where: str, spec: ChildSpec) -> None:
    if spec.significant:
        raise ConfigError(
            f"{where}: significant = True",
            hint="Children of a DynamicSupervisor come and go: none is significant. Use a Supervisor for those.",
        )
