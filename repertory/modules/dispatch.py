"""Where the call of a module goes: straight on, or to whoever runs the program."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from repertory.modules.module import Module
    from repertory.modules.pending import Pending


class Dispatcher(Protocol):
    """Takes over the calls of modules that are made while it is the current one."""

    def dispatch(
        self, module: "Module", inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None = None
    ) -> "Pending":
        """Have ``module`` answer ``inputs``, as soon as those are there that they refer to.

        Args:
            demos: Stand in for a predictor's own, where given.
        """
        ...


current_dispatcher: ContextVar[Dispatcher | None] = ContextVar("current_dispatcher", default=None)
"""Set for the length of a run, in the run's own context: concurrent runs do not see each other's."""
