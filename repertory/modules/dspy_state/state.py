"""DSPy's tuning of a program brought over, and back: `Module.load_dspy_state` and `Module.dump_dspy_state`."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repertory.errors import ConfigError, InputError, OutputsInvalid
from repertory.modules.dspy_state.demos import written_demos
from repertory.modules.dspy_state.format import LONE, METADATA, SavedPredictor, SavedState, read_state
from repertory.modules.dspy_state.match import Pair, dspy_paths, fields_of, pairs
from repertory.modules.dspy_state.report import DspyChange, DspyMatch, DspyReport, named
from repertory.modules.dspy_state.tuning import Tuning, plain_desc, plain_prefix, tuning_of
from repertory.modules.module import Module
from repertory.modules.parameters import Parameters
from repertory.modules.predict import Predict
from repertory.signatures import Signature
from repertory.signatures.source import clipped


@dataclass(frozen=True, slots=True)
class Definition:
    """What loading may change about a predictor."""

    signature: type[Signature]
    parameters: Parameters

    @property
    def instructions(self) -> str:
        """The task in words."""
        stated = self.parameters.instructions
        return self.signature.instructions if stated is None else stated


@dataclass(frozen=True, slots=True)
class DspyFile:
    """The state that a program was loaded from, as far as no predictor carries it.

    Attributes:
        paths: DSPy's name of each predictor that was loaded, by ours.
        declared: What each of these was before.
        loaded: What each of these became.
        others: Entries of the file that are no predictor's of the program, ``metadata`` among them.
        order: The names of all entries, as in the file.
        lone: The file is the state of a single Predict.
    """

    paths: dict[str, str]
    declared: dict[str, Definition]
    loaded: dict[str, Definition]
    others: dict[str, Any]
    order: tuple[str, ...]
    lone: bool


def load_dspy_state(
    program: Module,
    state: Mapping[str, object] | str | Path,
    *,
    strict: bool,
    lms: Mapping[str, str],
    earlier: DspyFile | None,
) -> tuple[DspyFile, DspyReport]:
    """As `Module.load_dspy_state`; ``earlier`` is what the program was loaded from before.

    Raises:
        ConfigError: Naming the file, the predictor, the place in it, the value and the remedy.
    """
    saved = read_state(state)
    predictors = program.predictors()
    now = {path: Definition(predict.signature, predict.parameters) for path, predict in predictors.items()}
    try:
        if earlier is not None:
            _apply(predictors, earlier.declared)
        declared = {path: Definition(one.signature, one.parameters) for path, one in predictors.items()}
        found = pairs(saved.predictors, program)
        tunings = {
            pair.path: tuning_of(saved.predictors[pair.dspy_path], predictors[pair.path], lms) for pair in found
        }
        report = _report(saved, predictors, found, tunings)
        _check(report, strict)
        tuned = {
            pair.path: Definition(
                _redescribed(declared[pair.path].signature, tunings[pair.path].descs),
                tunings[pair.path].parameters(declared[pair.path].parameters, saved.raw[pair.dspy_path]),
            )
            for pair in found
        }
        _apply(predictors, tuned)
    except BaseException:
        _apply(predictors, now)
        raise
    paths = {pair.path: pair.dspy_path for pair in found}
    others = {name: entry for name, entry in saved.raw.items() if name not in paths.values()}
    file = DspyFile(paths, {path: declared[path] for path in paths}, tuned, others, tuple(saved.raw), saved.lone)
    return file, report


def dump_dspy_state(program: Module, file: DspyFile | None) -> dict[str, Any]:
    """As `Module.dump_dspy_state`; ``file`` is what the program was loaded from.

    Raises:
        ConfigError: A demonstration cannot be written as JSON, or DSPy has no name for a predictor.
    """
    names = dspy_paths(program) | (file.paths if file is not None else {})
    written = deepcopy(file.others) if file is not None else {METADATA: {"dependency_versions": {}}}
    for path, predict in program.predictors().items():
        name = names[path]
        if name in written or name == METADATA:
            raise ConfigError(
                f"{path}: a DSPy state can have only one entry {name!r}", hint="Rename the attribute or the key."
            )
        try:
            written[name] = _written(predict, file.loaded.get(path) if file is not None else None)
        except (ValueError, InputError, OutputsInvalid) as error:
            raise ConfigError(
                f"{path}: a demonstration cannot be written as JSON: {error}", hint="Give it JSON values."
            ) from None
    if (file.lone if file is not None else names.get("self") == LONE) and len(names) == 1:
        return {**written.pop(LONE), **written}
    order = {name: position for position, name in enumerate(file.order if file is not None else ())}
    return {name: written[name] for name in sorted(written, key=lambda name: order.get(name, len(order)))}


def _redescribed(signature: type[Signature], descs: Mapping[str, str]) -> type[Signature]:
    """``signature`` with other descriptions of some fields, by name."""
    marks = {field.name: field.mark for field in (*signature.inputs, *signature.outputs)}
    changed = {name: replace(marks[name], desc=desc) for name, desc in descs.items()}
    return signature.with_fields(**changed) if changed else signature


def _report(
    saved: SavedState, predictors: Mapping[str, Predict], found: list[Pair], tunings: Mapping[str, Tuning]
) -> DspyReport:
    matched = {pair.dspy_path for pair in found}
    return DspyReport(
        source=saved.source,
        version=saved.version,
        matches=tuple(
            DspyMatch(
                pair.dspy_path,
                pair.path,
                pair.how,
                (*tunings[pair.path].changes, *_secrets(saved.secrets[pair.dspy_path])),
            )
            for pair in found
        ),
        unmatched_dspy=tuple(name for name in saved.predictors if name not in matched),
        unmatched=tuple(path for path in predictors if path not in tunings),
        models=frozenset(one.lm.model for one in saved.predictors.values() if one.lm is not None),
    )


def _secrets(names: Iterable[str]) -> list[DspyChange]:
    return [
        DspyChange(f"lm.{name}", "left", "a secret: not read from a file", "Name its variable: api_key_env = ...")
        for name in names
    ]


def _check(report: DspyReport, strict: bool) -> None:
    """Raise unless the state can be loaded."""
    if not report.matches:
        raise ConfigError(
            f"{report.source}: none of its predictors ({named(report.unmatched_dspy)}) is in the program "
            f"({named(report.unmatched) or 'it has none'})",
            hint="Give the program's attributes the names that they have in DSPy.",
        )
    if not strict:
        return
    for match in report.matches:
        for change in match.changes:
            if change.effect == "skipped":
                raise ConfigError(
                    f"{report.source}: {clipped(match.dspy_path)}.{change.where} (for {match.path}): "
                    f"{change.detail}",
                    hint=f"{change.hint} strict=False skips it.",
                )
    for paths, where in (
        (report.unmatched_dspy, "not in the program"),
        (report.unmatched, f"not in the state, which has {named([match.dspy_path for match in report.matches])}"),
    ):
        if paths:
            raise ConfigError(
                f"{report.source}: {named(paths)}: {where}",
                hint="Give both programs the same predictors, by the same names. strict=False leaves them alone.",
            )


def _apply(predictors: Mapping[str, Predict], definitions: Mapping[str, Definition]) -> None:
    for path, definition in definitions.items():
        predictors[path].redefine(definition.signature)
        predictors[path].parameters = definition.parameters


def _written(predict: Predict, loaded: Definition | None) -> dict[str, Any]:
    """The predictor's state: what DSPy saved, with what has changed since it was ``loaded``; or a new one."""
    now = Definition(predict.signature, predict.parameters)
    raw = now.parameters.dspy
    if raw is None and loaded is not None:
        raw = loaded.parameters.dspy
    if raw is None:
        return _new_state(predict)
    saved = SavedPredictor.model_validate(raw)
    tuning = tuning_of(saved, predict)
    before = loaded or Definition(now.signature, tuning.parameters(Parameters(), raw))
    written = deepcopy(raw)
    if now.parameters.demos != before.parameters.demos:
        written["demos"] = written_demos(predict, written["demos"], tuning.demos)
    if now.instructions != before.instructions:
        _write_instructions(written, now.instructions)
    if now.signature is not before.signature:
        _write_descriptions(written, now.signature, before.signature)
    for name in ("temperature", "max_tokens"):
        value = getattr(now.parameters, name)
        if value != getattr(before.parameters, name) and saved.lm is not None:  # else there is nowhere to put it
            written["lm"][name] = value
    return written


def _new_state(predict: Predict) -> dict[str, Any]:
    """The state of a predictor that was never in DSPy."""
    fields = [
        {"prefix": plain_prefix(one.name), "description": one.mark.desc or plain_desc(one.name)}
        for one in fields_of(predict.signature)
    ]
    instructions = Definition(predict.signature, predict.parameters).instructions
    return {
        "traces": [],
        "train": [],
        "demos": written_demos(predict, [], ()),
        "signature": {"instructions": instructions, "fields": fields},
        "lm": None,
    }


def _write_instructions(state: dict[str, Any], instructions: str) -> None:
    for name in ("signature", "extended_signature"):
        if isinstance(state.get(name), dict):
            state[name]["instructions"] = instructions
        if isinstance(state.get(f"{name}_instructions"), str):
            state[f"{name}_instructions"] = instructions


def _write_descriptions(state: dict[str, Any], now: type[Signature], before: type[Signature]) -> None:
    old, new = fields_of(before), fields_of(now)
    for name in ("signature", "extended_signature"):
        saved = state[name]["fields"] if isinstance(state.get(name), dict) else []
        if not len(saved) == len(old) == len(new):
            continue
        for entry, earlier, later in zip(saved, old, new, strict=True):
            if later.mark.desc != earlier.mark.desc:
                entry["description"] = later.mark.desc or plain_desc(later.name)
