"""What the saved state of one DSPy predictor means for one of ours."""

import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from repertory.modules.dspy_state.demos import Demo, DemoReader
from repertory.modules.dspy_state.format import SavedLM, SavedPredictor
from repertory.modules.dspy_state.match import fields_of, misfit
from repertory.modules.dspy_state.report import DspyChange
from repertory.modules.parameters import Parameters
from repertory.modules.predict import Predict
from repertory.signatures.source import clipped

_CONNECTION: Final = frozenset(
    {"_dspy_lm_class", "model", "model_type", "cache", "cache_in_memory", "num_retries", "finetuning_model"}
    | {"launch_kwargs", "train_kwargs", "engine", "async_engine", "use_developer_role", "prompt_cache"}
    | {"api_base", "base_url", "api_version", "model_list", "rollout_id", "timeout", "extra_headers"}
)
"""Settings of a DSPy language model that say how it is reached: here that is the runtime's configuration."""

_REASONING_PREFIX: Final = "Reasoning: Let's think step by step in order to"  # of ChainOfThought before 3.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """What changes about a predictor; None and absent leave it as declared.

    ``demos`` has a None for each saved one that is not shown.
    """

    instructions: str | None
    demos: tuple[Demo | None, ...]
    descs: Mapping[str, str]
    lm: str | None
    temperature: float | None
    max_tokens: int | None
    changes: tuple[DspyChange, ...]

    def parameters(self, declared: Parameters, raw: dict[str, Any]) -> Parameters:
        """The ``declared`` parameters with what was tuned; ``raw`` is the state they carry along."""
        stated = {
            "instructions": self.instructions,
            "lm": self.lm,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        changed = {name: value for name, value in stated.items() if value is not None}
        shown = tuple(demo for demo in self.demos if demo is not None)
        return declared.model_copy(update={**changed, "demos": shown, "dspy": raw})


def tuning_of(saved: SavedPredictor, predict: Predict, lms: Mapping[str, str] = MappingProxyType({})) -> Tuning:
    """Read ``saved`` as the tuning of ``predict``; ``lms`` names the runtime's models by DSPy's addresses."""
    reader = DemoReader(predict)
    demos = tuple(reader.read(saved.demos))
    changes = list(_instructions_changes(saved, predict))
    descs: dict[str, str] = {}
    changes.extend(_field_changes(saved, predict, descs))
    changes.extend(reader.changes)
    lm = saved.lm
    if lm is not None:
        changes.extend(_lm_changes(lm, lms))
    changes.extend(_other_changes(saved))
    return Tuning(
        instructions=_instructions(saved, predict),
        demos=demos,
        descs=MappingProxyType(descs),
        lm=lms.get(lm.model) if lm is not None else None,
        temperature=lm.temperature if lm is not None else None,
        max_tokens=(lm.max_tokens or lm.max_completion_tokens) if lm is not None else None,
        changes=tuple(changes),
    )


def plain_prefix(name: str) -> str:
    """The prefix that DSPy gives a field without one: ``questionText2`` is ``Question Text 2:``."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted)
    parted = re.sub(r"([a-zA-Z])(\d)", r"\1_\2", parted)
    parted = re.sub(r"(\d)([a-zA-Z])", r"\1_\2", parted)
    return " ".join(word if word.isupper() else word.capitalize() for word in parted.split("_")) + ":"


def plain_desc(name: str) -> str:
    """The description that DSPy gives a field without one."""
    return f"${{{name}}}"


def _instructions(saved: SavedPredictor, predict: Predict) -> str | None:
    """The instructions if somebody, or something, wrote them, and they are not the predictor's as it is."""
    stated = predict.parameters.instructions
    own = predict.compiled.instructions if stated is None else stated
    names = [field.name for field in predict.signature.outputs]
    asked = [names, [name for name in names if name != "reasoning"]]  # DSPy words them before it adds a reasoning
    plain = [_plain_instructions([field.name for field in predict.signature.inputs], outputs) for outputs in asked]
    return None if saved.instructions in (own, *plain) else saved.instructions


def _plain_instructions(inputs: list[str], outputs: list[str]) -> str:
    """What DSPy says where nobody wrote instructions."""
    given, wanted = (", ".join(f"`{name}`" for name in names) for names in (inputs, outputs))
    return f"Given the fields {given}, produce the fields {wanted}."


def _instructions_changes(saved: SavedPredictor, predict: Predict) -> Iterator[DspyChange]:
    if (instructions := _instructions(saved, predict)) is not None:
        yield DspyChange("signature.instructions", "taken", _short(instructions))


def _field_changes(saved: SavedPredictor, predict: Predict, descs: dict[str, str]) -> Iterator[DspyChange]:
    """The changes of the fields; those of descriptions go into ``descs`` as well."""
    if saved.fields is None:
        return
    if (reason := misfit(saved.fields, predict)) is not None:
        yield DspyChange(
            "signature.fields", "skipped", reason, "Give both programs the same fields, in the same order."
        )
        return
    for position, (field, own) in enumerate(zip(saved.fields, fields_of(predict.signature), strict=True)):
        where = f"signature.fields[{position}]"
        desc = field.description
        if desc and desc not in _plain_descs(own.name) and desc != own.mark.desc:
            descs[own.name] = desc
            yield DspyChange(f"{where}.description", "taken", f"{own.name}: {_short(desc)}")
        if field.prefix and field.prefix not in _plain_prefixes(own.name):
            yield DspyChange(f"{where}.prefix", "kept", f"{own.name}: {_short(field.prefix)}")


def _plain_descs(name: str) -> tuple[str, ...]:
    return (plain_desc(name), "${rationale}") if name == "reasoning" else (plain_desc(name),)


def _plain_prefixes(name: str) -> tuple[str, ...]:
    return (plain_prefix(name), _REASONING_PREFIX) if name == "reasoning" else (plain_prefix(name),)


def _lm_changes(lm: SavedLM, lms: Mapping[str, str]) -> Iterator[DspyChange]:
    if lm.model in lms:
        yield DspyChange("lm.model", "taken", f"{clipped(lm.model)} is {lms[lm.model]!r}")
    else:
        yield DspyChange(
            "lm.model",
            "left",
            clipped(lm.model),
            f"Say which of the runtime's models it is: lms={{{_short(lm.model)}: 'default'}}",
        )
    for name in ("temperature", "max_tokens", "max_completion_tokens"):
        if (value := getattr(lm, name)) is not None:
            yield DspyChange(f"lm.{name}", "taken", f"{value:g}")
    for name, value in (lm.model_extra or {}).items():
        if name not in _CONNECTION and value not in (None, [], {}):
            yield DspyChange(f"lm.{clipped(name)}", "left", _short(value))


def _other_changes(saved: SavedPredictor) -> Iterator[DspyChange]:
    others = {"traces": saved.traces, "train": saved.train, **(saved.model_extra or {})}
    for name, value in others.items():
        if not value:
            continue
        if name == "fields" and isinstance(value, dict):  # since 3.4: how decision types are decided
            yield DspyChange("fields", "left", _short(value))
        else:
            yield DspyChange(clipped(name), "kept", _short(value))


def _short(value: object) -> str:
    shortened = reprlib.Repr()
    shortened.maxstring = 80  # a line of the report
    return shortened.repr(value)
