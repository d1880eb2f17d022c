"""Definitions: graphs written in a TOML or YAML file, and the programs they stand for.

```toml
inputs = "document"

[nodes.facts]
module = "chain_of_thought"
signature = "document -> facts: list[str]"
inputs = { document = "document" }

[nodes.write]
signature = "facts: list[str] -> report"
inputs = { facts = "facts.facts" }

[outputs]
report = "write.report"
```
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repertory.errors import ConfigError, ProgramError, RepertoryError
from repertory.modules.chain_of_thought import ChainOfThought
from repertory.modules.graph.checks import Problem
from repertory.modules.graph.graph import Graph, Node, in_order_of_need
from repertory.modules.graph.links import Value, links_in
from repertory.modules.graph.program import RESERVED, GraphProgram
from repertory.modules.graph.written import read_value
from repertory.modules.predict import Predict
from repertory.signatures import Signature

SUFFIXES = (".toml", ".yaml", ".yml")
"""How the names of such files end."""


class NodeDefinition(BaseModel):
    """One table below ``nodes``. What has no meaning for the graph is handed to the module; see `Predict`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    signature: str
    module: Literal["predict", "chain_of_thought"] = "predict"
    inputs: dict[str, Any]
    instructions: str | None = None
    demos: tuple[dict[str, Any], ...] = ()
    lm: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    corrections: int = 1
    adapter: str = "auto"

    def predictor(self) -> Predict:
        """The module that this describes. Raises SignatureError, ConfigError."""
        kind = ChainOfThought if self.module == "chain_of_thought" else Predict
        return kind(self.signature, **self.model_dump(exclude={"signature", "module", "inputs"}))


class GraphDefinition(BaseModel):
    """A whole file.

    Attributes:
        inputs: The program's inputs, as the left side of a signature: ``"document, length: int = 100"``.
        nodes: What is asked, by name.
        outputs: What the program gives, by name.
        name: What it is called; else like the file.
        on_failure: What becomes of the other nodes where one fails: ``strict``, ``tolerant``, ``threshold(n)`` or
            ``fallback``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str = Field(min_length=1)
    nodes: dict[str, NodeDefinition] = Field(min_length=1)
    outputs: dict[str, Any] = Field(min_length=1)
    name: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    on_failure: str = Field(default="strict", pattern=r"^(strict|tolerant|threshold\([1-9][0-9]*\)|fallback)$")


def load_graph_program(path: Path) -> GraphProgram:
    """The program that a TOML or YAML file defines.

    Raises:
        ConfigError: Naming the file, the table, the field, its value and the remedy.
    """
    return graph_program(_read(path), source=str(path), name=path.stem)


def graph_program(values: Mapping[str, Any], *, source: str, name: str) -> GraphProgram:
    """The program that ``values`` define, as read from a file called ``source``; ``name`` is what it is called
    where it does not say. Raises ConfigError as `load_graph_program`."""
    try:
        definition = GraphDefinition.model_validate(values)
    except ValidationError as error:
        raise _invalid(source, error) from None
    return _Building(source, definition).program(definition.name or _identifier(name))


class _Building:
    """Makes a program of a definition; what goes wrong is told with the place in the file."""

    def __init__(self, source: str, definition: GraphDefinition) -> None:
        self._source = source
        self._definition = definition

    def program(self, name: str) -> GraphProgram:
        definition = self._definition
        signature = self._signature()
        inputs = [each.name for each in signature.inputs]
        self._check_names(inputs)
        predictors = {node: self._predictor(node, each) for node, each in definition.nodes.items()}
        outputs = self._values("outputs", definition.outputs, inputs)
        nodes = [
            Node(
                *(node, node, type(predictor).__name__, predictor.compiled),
                self._values(f"nodes.{node}.inputs", definition.nodes[node].inputs, inputs),
            )
            for node, predictor in predictors.items()
        ]
        try:
            graph = Graph(name, signature, tuple(in_order_of_need(nodes)), outputs)
        except ProgramError as error:
            self._refuse("nodes", error)
        self._check(graph)
        program = GraphProgram(graph, predictors, definition.on_failure)
        try:
            _ = program.signature
        except RepertoryError as error:
            self._refuse("outputs", error)
        return program

    def _signature(self) -> type[Signature]:
        try:
            return Signature.parse(f"{self._definition.inputs} -> prediction: Any")
        except RepertoryError as error:
            self._refuse(f"inputs = {self._definition.inputs!r}", error)

    def _check_names(self, inputs: list[str]) -> None:
        for node in self._definition.nodes:
            place = f"{self._source}: nodes.{node}"
            if not node.isidentifier() or node.startswith("_"):
                raise ConfigError(f"{place} is no name for a node", hint="Use letters, digits and underscores.")
            if node in RESERVED:
                raise ConfigError(f"{place}: programs have a {node} of their own", hint=f"Call it {node}_it.")
            if node in inputs:
                raise ConfigError(f"{place}: there is an input of this name", hint="Rename one of them.")

    def _predictor(self, name: str, node: NodeDefinition) -> Predict:
        try:
            return node.predictor()
        except RepertoryError as error:
            self._refuse(f"nodes.{name}", error)

    def _values(self, place: str, written: Mapping[str, Any], inputs: list[str]) -> dict[str, Value]:
        values = {}
        for name, each in written.items():
            try:
                values[name] = read_value(each, self._definition.nodes, inputs)
            except ConfigError as error:
                self._refuse(f"{place}.{name}", error)
        return values

    def _check(self, graph: Graph) -> None:
        if problems := graph.check():
            told = [(f"{self._source}: {self._where(each)}{each.reason}", each.remedy) for each in problems]
            *others, (last, remedy) = told
            lines = [f"{problem}\n  {remedy}" for problem, remedy in others]
            raise ConfigError("\n".join((*lines, last)), hint=remedy)
        needed = {link.node for value in graph.outputs.values() for link in links_in(value)}
        for name, nodes in reversed(graph.needs().items()):
            if name not in needed:
                raise ConfigError(
                    f"{self._source}: nodes.{name}: nothing needs what it gives",
                    hint=f"Name it in [outputs], such as {name} = {name!r} and a field, or take it away.",
                )
            needed.update(nodes)

    def _where(self, problem: Problem) -> str:
        """The place of a problem in the file, with what is written there."""
        if problem.node is None:
            written: Mapping[str, Any] = self._definition.outputs
            place = f"outputs.{problem.field}"
        else:
            written = self._definition.nodes[problem.node].inputs
            place = f"nodes.{problem.node}.inputs.{problem.field}"
        return f"{place} = {written[problem.field]!r}: " if problem.field in written else f"{place} "

    def _refuse(self, place: str, error: RepertoryError) -> NoReturn:
        raise ConfigError(f"{self._source}: {place}: {error.message}", hint=error.hint) from None


def _identifier(name: str) -> str:
    """A name made of the file's, as one that a class can have."""
    text = "".join(char if char.isalnum() or char == "_" else "_" for char in name)
    return text if text.isidentifier() else f"_{text}"


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values = _parsed_toml(text) if path.suffix == ".toml" else _parsed_yaml(path, text)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file", hint="Check the path; it is relative to where you are."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="Name a file you can read.") from None
    except ValueError as error:  # its syntax, or not UTF-8
        raise ConfigError(f"{path}: is not {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is no table", hint="Write inputs, nodes and outputs.")
    return values


def _parsed_toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def _parsed_yaml(path: Path, text: str) -> object:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            f"{path}: PyYAML is not installed", hint="Run: pip install 'repertory[yaml]', or write TOML."
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _invalid(source: str, error: ValidationError) -> ConfigError:
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in fault["loc"])
    name = str(fault["loc"][-1])
    match fault["type"]:
        case "missing":
            hint = "Write: [outputs]" if name == "outputs" else f"Write: {name} = ..."
            return ConfigError(f"{source}: {place} is missing", hint=hint)
        case "extra_forbidden":
            return ConfigError(f"{source}: {place} is not a known setting", hint="docs/graphs.md lists them.")
    return ConfigError(f"{source}: {place} = {fault['input']!r}", hint=f"{fault['msg']}.")
