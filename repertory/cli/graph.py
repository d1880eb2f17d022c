"""``repertory graph``: what a program asks and what needs what, without asking: checked, listed or drawn."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rich.console import Console
from rich.text import Text

from repertory.cli.exit_codes import ExitCode
from repertory.cli.printable import printable
from repertory.cli.whole_file import write_whole
from repertory.modules import Graph
from repertory.modules.graph.drawing import cut
from repertory.modules.graph.links import value_text
from repertory.runtime.loading import load_program

GraphFormat: TypeAlias = Literal["text", "mermaid", "svg", "json"]


def show_graph(address: str, format: GraphFormat, out: Path | None, console: Console) -> ExitCode:
    """Print the graph of the program at ``address``, or write it to ``out``; REJECTED if it cannot work.

    Raises:
        ProgramError, ConfigError: There is no such program, it cannot be traced, or ``out`` cannot be written.
    """
    graph = Graph.trace(load_program(address))
    text = _written(graph, format)
    if out is not None:
        write_whole(out, text)
    else:
        shown = printable(text) if format == "text" else text
        console.print(Text(shown), soft_wrap=True, end="")
    return ExitCode.REJECTED if graph.check() else ExitCode.OK


def _written(graph: Graph, format: GraphFormat) -> str:
    match format:
        case "mermaid":
            return graph.mermaid()
        case "svg":
            return graph.svg()
        case "json":
            return json.dumps(_data(graph), ensure_ascii=False, indent=2) + "\n"
        case "text":
            return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> list[str]:
    inputs = ", ".join(each.name for each in graph.inputs.inputs)
    lines = [f"{graph.name}: {inputs} -> {', '.join(graph.outputs)}"]
    for number, level in enumerate(graph.levels(), start=1):
        lines.append(f"level {number}")
        for name in level:
            node = graph[name]
            given = ", ".join(f"{each}={cut(value_text(value))}" for each, value in node.inputs.items())
            lines.append(f"  {name}: {node.module}({given})")
    lines.append(f"critical path: {' -> '.join(graph.critical_path()) or 'none'}")
    problems = graph.check()
    lines.append(f"check: {_counted(len(problems))}")
    for problem in problems:
        lines += (f"! {problem}", f"    {problem.remedy}")
    return lines


def _data(graph: Graph) -> dict[str, Any]:
    return {
        "name": graph.name,
        "inputs": [each.name for each in graph.inputs.inputs],
        "nodes": [
            {
                "name": node.name,
                "path": node.path,
                "module": node.module,
                "inputs": [each.name for each in node.signature.inputs],
                "outputs": [each.name for each in node.signature.outputs],
            }
            for node in graph.nodes
        ],
        "edges": [
            {"source": str(edge.source), "node": edge.source.node, "target": edge.target, "input": edge.input}
            for edge in graph.edges()
        ],
        "outputs": list(graph.outputs),
        "levels": graph.levels(),
        "critical_path": graph.critical_path(),
        "problems": [asdict(problem) for problem in graph.check()],
    }


def _counted(problems: int) -> str:
    match problems:
        case 0:
            return "nothing wrong was found"
        case 1:
            return "1 problem"
        case _:
            return f"{problems} problems"
