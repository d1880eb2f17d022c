"""Whether callers of one version of a program can call another one as they are."""

from repertory.errors import ProgramError
from repertory.signatures import CompiledSignature


def check_inputs(program: str, old: CompiledSignature, new: CompiledSignature) -> None:
    """Raise ProgramError where a call of ``old`` would be refused by ``new`` for the names of its inputs.

    Types are not compared: callers find these out, as they would with a program of their own.
    """
    known, taken = {each.name for each in old.inputs}, {each.name for each in new.inputs}
    given, wanted = _required(old), _required(new)
    if lost := sorted(known - taken):
        raise ProgramError(
            f"{program}: its new version does not take the input {lost[0]!r}, which callers may give",
            hint="Keep it, or start a program of its own: runtime.start(program, name=...).",
        )
    if more := sorted(wanted - given):
        raise ProgramError(
            f"{program}: its new version requires the input {more[0]!r}, which callers need not give",
            hint="Give it a default, or start a program of its own: runtime.start(program, name=...).",
        )


def _required(compiled: CompiledSignature) -> frozenset[str]:
    required = compiled.input_schema.get("required", [])
    assert isinstance(required, list)
    return frozenset(map(str, required))
