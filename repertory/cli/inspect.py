"""``repertory inspect``: what a program asks, before it asks: signatures, prompts, schemas, advice."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from repertory.cli.exit_codes import ExitCode
from repertory.cli.printable import printable
from repertory.modules import Module, Predict
from repertory.modules.adapters import Adapter, adapter_for, adapter_named
from repertory.providers.messages import Message, SchemaDialect
from repertory.runtime.loading import load_program
from repertory.signatures import CompiledSignature
from repertory.signatures.advice import Advice, advise


def inspect_program(
    address: str, dialect: SchemaDialect | None, adapter: str | None, as_json: bool, console: Console
) -> ExitCode:
    """Print what each predictor of the program at ``address`` asks.

    Args:
        address: As for ``repertory run``.
        dialect: How the endpoint constrains replies, by which ``auto`` picks the adapter; None if it does not.
        adapter: The adapter to show, instead of each predictor's own.
        as_json: Print one JSON document.
        console: Where to.

    Raises:
        ProgramError, ConfigError: There is no such program or adapter.
    """
    inspected = list(_inspected(load_program(address), dialect, adapter))
    if as_json:
        console.print_json(json.dumps(inspected, ensure_ascii=False))
        return ExitCode.OK
    for number, each in enumerate(inspected):
        if number:
            console.print()
        _print(each, console)
    return ExitCode.OK


def _inspected(program: Module, dialect: SchemaDialect | None, adapter: str | None) -> Iterator[dict[str, Any]]:
    for path, predict in program.predictors().items():
        chosen = _adapter(predict, dialect, adapter)
        compiled = predict.compiled
        yield {
            "path": path,
            "module": type(predict).__name__,
            "signature": str(predict.signature),
            "fingerprint": compiled.fingerprint,
            "adapter": chosen.name,
            "advice": [asdict(advice) for advice in _advice(predict)],
            "prompt": [{"role": each.role, "content": each.text} for each in _prompt(predict, chosen)],
            "input_schema": compiled.input_schema,
            "output_schema": compiled.output_schema,
            "response_schema": chosen.response_schema(compiled, dialect),
            "obstacles": _untold(compiled, dialect, "obstacles"),
            "dropped": _untold(compiled, dialect, "dropped"),
        }


def _adapter(predict: Predict, dialect: SchemaDialect | None, asked_for: str | None) -> Adapter:
    if asked_for is None and predict.adapter is not None:
        return predict.adapter
    return adapter_for(dialect) if asked_for is None or asked_for == "auto" else adapter_named(asked_for)


def _untold(
    compiled: CompiledSignature, dialect: SchemaDialect | None, kind: Literal["obstacles", "dropped"]
) -> list[str]:
    """What the dialect has no word for."""
    return [] if dialect is None else list(map(str, getattr(compiled.provider_schema(dialect), kind)))


def _advice(predict: Predict) -> tuple[Advice, ...]:
    """What is said of the signature; instructions that are a parameter count as its own."""
    instructions = predict.parameters.instructions
    signature = predict.signature
    return advise(signature if instructions is None else signature.with_instructions(instructions))


def _prompt(predict: Predict, adapter: Adapter) -> tuple[Message, ...]:
    parameters, compiled = predict.parameters, predict.compiled
    preamble = adapter.preamble(compiled, parameters.demos, instructions=parameters.instructions)
    blanks = {field.name: f"<{field.name}>" for field in compiled.inputs}
    return (*preamble, Message("user", adapter.prompt(compiled).question(blanks)))


def _print(each: dict[str, Any], console: Console) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style), soft_wrap=True)

    line(f"{each['path']}: {each['module']}, adapter {each['adapter']}", "bold")
    line(f"  {each['signature']}")
    for advice in each["advice"]:
        told = Advice(**advice)
        line(f"! {told}", "yellow")
        line(f"    {told.remedy}")
    for message in each["prompt"]:
        line(f"--- {message['role']}", "dim")
        line(message["content"])
    for kind in ("obstacles", "dropped"):
        for untold in each[kind]:
            line(f"--- {kind}: {untold}", "dim")
    for name in ("output_schema", "response_schema"):
        if each[name] is not None:
            line(f"--- {name.replace('_', ' ')}", "dim")
            line(json.dumps(each[name], ensure_ascii=False, indent=2))
