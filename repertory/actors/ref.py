"""References: how actors are spoken to."""

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from repertory.actors.envelope import Envelope
from repertory.actors.message import Message
from repertory.errors import ActorDown, ActorError

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.system import ActorSystem

ReplyT = TypeVar("ReplyT")

DEFAULT_TIMEOUT = 5.0  # seconds, as in OTP's gen_server:call


class ActorRef:
    """A stable address: it outlives the lives, and the restarts of the supervisors, of the actor at its path."""

    __slots__ = ("_cell", "_system", "path")

    def __init__(self, system: "ActorSystem", path: str) -> None:
        self._system = system
        self.path = path
        self._cell: Cell | None = None

    def __repr__(self) -> str:
        return f"<ActorRef {self.path}>"

    async def ask(self, message: Message[ReplyT], *, timeout: float | None = DEFAULT_TIMEOUT) -> ReplyT:
        """Send ``message`` and wait for the reply: exactly one outcome.

        Cancelling the caller, or the passing of ``timeout`` seconds (None: no limit), withdraws the message;
        a handler at work on it is cancelled.

        Raises:
            The handler's own error; ActorDown if the life that held the message ended; DeadlineExceeded;
            MailboxFull.
        """
        outcome: asyncio.Future[Any] = self._system.loop.create_future()
        envelope = Envelope(message, outcome)
        watched_in = self._system.watch(envelope, timeout) if timeout is not None else None
        try:
            self._live_cell().deliver(envelope)
            return await outcome  # type: ignore[no-any-return]  # what the handler of Message[ReplyT] returned
        except asyncio.CancelledError:
            envelope.withdraw()
            raise
        finally:
            if watched_in is not None:
                watched_in.discard(envelope)

    def tell(self, message: Message[Any]) -> None:
        """Send ``message`` without waiting; what cannot be delivered is dropped and reported as an event."""
        envelope = Envelope(message, None)
        try:
            self._live_cell().deliver(envelope)
        except ActorError as error:
            self._system.report_drop(self.path, message, "down" if isinstance(error, ActorDown) else "full")

    @property
    def load(self) -> int:
        """Messages waiting or being handled; 0 if the actor is gone."""
        cell = self._find_cell()
        return cell.load if cell is not None else 0

    @property
    def running(self) -> bool:
        """Whether a life of the actor takes messages right now."""
        cell = self._find_cell()
        return cell is not None and cell.running

    def kill(self, error: BaseException) -> None:
        """End the actor's current life with ``error``, as if it had crashed; nothing happens between lives."""
        self._live_cell().kill(error)

    def _find_cell(self) -> "Cell | None":
        if self._cell is None or self._cell.closed:
            # Its supervisor may have been restarted, and has then made a new cell at the same path.
            self._cell = self._system.find_cell(self.path)
        return self._cell

    def _live_cell(self) -> "Cell":
        cell = self._find_cell()
        if cell is None:
            raise ActorDown(f"there is no actor at {self.path!r}")
        return cell
