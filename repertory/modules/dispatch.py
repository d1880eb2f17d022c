"""Where a predictor's call goes: straight to its model, or to whoever runs the program."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from repertory.modules.predict import Predict
    from repertory.modules.prediction import Prediction


class Dispatcher(Protocol):
    """Takes over the calls that predictors make while it is the current one."""

    async def dispatch(
        self, predictor: "Predict", inputs: dict[str, Any], demos: Sequence[Mapping[str, Any]] | None
    ) -> "Prediction":
        """Have ``predictor`` answer the validated ``inputs``; ``demos`` stand in for its own where given."""
        ...


current_dispatcher: ContextVar[Dispatcher | None] = ContextVar("current_dispatcher", default=None)
"""Set for the length of a run, in the run's own context: concurrent runs do not see each other's."""
