"""Predictions: a module's typed outputs, and what they cost."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from repertory.modules.record import Record
from repertory.modules.trace import TraceEntry
from repertory.providers.messages import NO_USAGE, Usage


class Prediction(Record):
    """Output values by field name.

    Attributes:
        usage: Tokens over all calls made for it.
        lm_calls: Calls to language models made for it.
        parameters_version: Version of the predictor's parameters that were used; 0 outside a runtime, for what
            a program makes of several predictions, and for runs read back from the journal.
        trace: What happened between the question and these outputs, in order: each repair of the reply, each value
            read as another type, each failed check, each time the model was asked again. Empty where
            ``parameters_version`` is 0 for lack of one question of its own.
    """

    __slots__ = ("lm_calls", "parameters_version", "trace", "usage")

    def __init__(
        self,
        values: Mapping[str, Any] = MappingProxyType({}),
        /,
        *,
        usage: Usage | None = None,
        lm_calls: int = 0,
        parameters_version: int = 0,
        trace: tuple[TraceEntry, ...] = (),
        **more: Any,
    ) -> None:
        super().__init__({**values, **more} if more else values)
        self.usage = usage or NO_USAGE
        self.lm_calls = lm_calls
        self.parameters_version = parameters_version
        self.trace = trace

    def but(self, values: Mapping[str, Any]) -> "Prediction":
        """This one with other ``values``."""
        return Prediction(
            values,
            usage=self.usage,
            lm_calls=self.lm_calls,
            parameters_version=self.parameters_version,
            trace=self.trace,
        )

    @property
    def outputs(self) -> dict[str, Any]:
        """The values, as a dict of their own."""
        return dict(self._values)
