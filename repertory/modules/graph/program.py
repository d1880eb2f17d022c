"""Programs that are written as a graph: a module whose forward makes the calls of its graph."""

from collections.abc import Mapping
from types import new_class
from typing import Any, Final

from repertory.modules.concurrent import gather
from repertory.modules.graph.checks import output_types
from repertory.modules.graph.graph import Graph
from repertory.modules.graph.links import Constant, Link, Value, value_text
from repertory.modules.module import Module
from repertory.modules.pending import Pending, Reference, resolved, value_at
from repertory.modules.predict import Predict
from repertory.modules.prediction import Prediction
from repertory.signatures import OutputField, Signature

RESERVED: Final = frozenset({"graph", "on_failure", *dir(Module)})
"""What no predictor can be called."""


class GraphProgram(Module):
    """Makes the calls of a graph; calls that need nothing of each other run side by side.

    Its predictors are attributes of the names of its nodes, so that their paths are these names.

    Args:
        graph: Its nodes are called like predictors, each once.
        predictors: One for each node.
        on_failure: What becomes of the others where a node fails; told to whoever runs it.
    """

    def __init__(self, graph: Graph, predictors: Mapping[str, Predict], on_failure: str = "strict") -> None:
        self.graph = graph
        self.on_failure = on_failure
        vars(self).update(predictors)

    @property
    def signature(self) -> type[Signature]:
        """The inputs and outputs; the instructions tell the calls, so that with others it is another program."""
        outputs = {name: (kind, OutputField()) for name, kind in output_types(self.graph).items()}
        whole = self.graph.inputs.with_fields(**outputs)
        gone = [each.name for each in self.graph.inputs.outputs if each.name not in outputs]
        whole = whole.delete(*gone).with_instructions(_told(self.graph))
        return new_class(self.graph.name, (whole,))

    async def forward(self, **inputs: Any) -> Prediction:
        """Make all calls, and give what the graph's outputs lead to."""
        given, calls = Prediction(inputs), dict[str, Pending]()
        for node in self.graph.nodes:
            predictor: Predict = vars(self)[node.name]
            calls[node.name] = predictor(
                **{name: _handed_on(value, given, calls) for name, value in node.inputs.items()}
            )
        await gather(*calls.values())
        outputs = {name: _handed_on(value, given, calls) for name, value in self.graph.outputs.items()}
        return Prediction(resolved(outputs))


def _handed_on(value: Value, inputs: Prediction, calls: Mapping[str, Pending]) -> Any:
    """``value`` as a call takes it: with references to what is yet to come."""
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Link):
        if value.node is None:
            return value_at(inputs, value.path)
        return Reference(calls[value.node], value.path)
    parts = {key: _handed_on(part, inputs, calls) for key, part in value.parts}
    return parts if value.kind is dict else value.kind(parts.values())


def _told(graph: Graph) -> str:
    """The calls of ``graph``, one a line, as Python would write them."""
    calls = (f"{node.name} = {node.module}({_arguments(node.inputs)})" for node in graph.nodes)
    return "\n".join((*calls, f"Prediction({_arguments(graph.outputs)})"))


def _arguments(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in values.items())
