"""Demonstrations from DSPy: each value checked against the type of its field."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from repertory.modules.dspy_state.report import DspyChange
from repertory.modules.predict import Predict
from repertory.signatures.annotations import annotation_text
from repertory.signatures.faults import first_fault
from repertory.signatures.fields import DeclaredField
from repertory.signatures.json_text import load_json
from repertory.signatures.records import Record
from repertory.signatures.source import clipped

Demo: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class DemoReader:
    """Reads the demonstrations of one predictor, and notes what became of them in ``changes``."""

    predict: Predict
    changes: list[DspyChange] = field(default_factory=list)
    _records: dict[str, Record] = field(default_factory=dict)

    def read(self, demos: list[Demo]) -> list[Demo | None]:
        """Each demonstration as its fields in JSON form; None where it is not shown."""
        taken = [self._demo(position, demo) for position, demo in enumerate(demos)]
        shown = sum(demo is not None for demo in taken)
        if demos or self.predict.parameters.demos:
            self.changes.insert(0, DspyChange("demos", "taken", f"{shown} of {len(demos)}"))
        self._note_other_keys(demos)
        return taken

    def _demo(self, position: int, demo: Demo) -> Demo | None:
        read: Demo = {}
        before = len(self.changes)
        for declared in (*self.predict.signature.inputs, *self.predict.signature.outputs):
            if declared.name in demo:
                self._value(declared, demo[declared.name], f"demos[{position}].{declared.name}", read)
        if any(change.effect == "skipped" for change in self.changes[before:]):
            return None
        for role in ("inputs", "outputs"):
            if not any(each.name in read for each in getattr(self.predict.signature, role)):
                # DSPy's adapters pass over such a one as well.
                self.changes.append(DspyChange(f"demos[{position}]", "kept", f"shows none of the {role}"))
                return None
        return read

    def _value(self, declared: DeclaredField, value: object, where: str, read: Demo) -> None:
        record = self._record(declared)
        try:
            read.update(record.write(record.read({declared.name: value})))
            return
        except ValidationError as error:
            reason = first_fault(error, {declared.name: value}).reason
        if value is None:
            self.changes.append(DspyChange(where, "kept", "null: not supplied"))
            return
        if isinstance(value, str):
            try:  # up to 2.6.0, DSPy wrote pydantic models as JSON text
                read.update(record.write(record.read({declared.name: load_json(value)})))
                return
            except ValueError:
                pass
        type_text = annotation_text(declared.annotation)
        self.changes.append(
            DspyChange(
                where,
                "skipped",
                f"does not fit {type_text}: {reason}",
                f"Correct the demonstration, or declare `{declared.name}` as what it holds.",
            )
        )

    def _record(self, declared: DeclaredField) -> Record:
        if declared.name not in self._records:
            name = self.predict.compiled.name
            self._records[declared.name] = Record.unchecked(name, (declared,), "ignore")
        return self._records[declared.name]

    def _note_other_keys(self, demos: list[Demo]) -> None:
        fields = {each.name for each in (*self.predict.signature.inputs, *self.predict.signature.outputs)}
        for key, count in Counter(key for demo in demos for key in demo if key not in fields).items():
            where = f"demos[].{clipped(key)}"
            self.changes.append(DspyChange(where, "kept", f"no field of the signature (in {count})"))


def written_demos(predict: Predict, saved: list[Demo], read: Sequence[Demo | None]) -> list[Demo]:
    """The predictor's demonstrations for DSPy; one that was ``saved`` and is still the same, as it was.

    Raises:
        ValueError: JSON cannot hold a value.
    """
    left = [(raw, demo) for raw, demo in zip(saved, read, strict=True) if demo is not None]
    written = []
    for demo in predict.parameters.demos:
        position = next((n for n, (_raw, known) in enumerate(left) if known == demo), None)
        written.append(_json_demo(predict, demo) if position is None else left.pop(position)[0])
    return written


def _json_demo(predict: Predict, demo: Mapping[str, Any]) -> Demo:
    compiled = predict.compiled
    fields = {**compiled.dump_inputs(demo), **compiled.dump_outputs(demo)}
    others = {key: value for key, value in demo.items() if key not in fields}
    return {**fields, **to_jsonable_python(others)}
