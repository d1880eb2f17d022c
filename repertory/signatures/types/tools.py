"""Tools: functions that a model may call, the calls it makes, and what came of them."""

import ast
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import Field, JsonValue, PrivateAttr, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError

from repertory.errors import InputError, ProgramError, SignatureError
from repertory.signatures.coercion_scalars import left_out, shown
from repertory.signatures.faults import first_fault
from repertory.signatures.schemas import open_schema
from repertory.signatures.type_registry import TYPES
from repertory.signatures.types.structure import Structure

_LONGEST_CALL: Final = 100_000  # characters of a call written as Python

_T = TypeVar("_T")


class ToolCall(Structure):
    """What the model wants done: a tool and its arguments. ``id`` is the provider's, "" if it gave none."""

    name: str = Field(min_length=1)
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    id: str = ""


class ToolResult(Structure):
    """What came of a call: its ``output``, or the ``error`` it failed of."""

    name: str = Field(min_length=1)
    output: JsonValue = None
    error: str | None = None
    call_id: str = ""


def _no_parameters() -> dict[str, JsonValue]:
    return {"type": "object", "properties": {}}


class Tool(Structure):
    """A function that a model may call.

    Its JSON form is the description alone: a tool that was read from JSON can be shown, and not called.

    Attributes:
        name: What the model calls it.
        description: What it does, in words for the model.
        parameters: JSON schema of its arguments as one object.
    """

    name: str = Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_-]{0,63}$")
    description: str = ""
    parameters: dict[str, JsonValue] = Field(default_factory=_no_parameters)

    _function: Callable[..., Any] | None = PrivateAttr(default=None)
    _arguments: TypeAdapter[Any] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str = "", description: str = "") -> "Tool":
        """The tool that calls ``function``, plain or async.

        Args:
            function: Its parameters are annotated; its docstring says what it does.
            name: Instead of the function's own.
            description: Instead of its docstring.

        Raises:
            SignatureError: A parameter cannot be given by name, or has a type without a JSON schema.
        """
        called = name or getattr(function, "__name__", "")
        fields: dict[str, Any] = {}
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise SignatureError(f"tool {called} takes {parameter}", hint="Name each of its parameters.")
            annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
            fields[parameter.name] = (
                annotation,
                ... if parameter.default is parameter.empty else parameter.default,
            )
        try:
            arguments: TypeAdapter[Any] = TypeAdapter(
                create_model("arguments", __config__={"extra": "forbid"}, **fields)
            )
            parameters = open_schema(arguments.json_schema())
        except (PydanticUserError, TypeError, ValueError, NameError) as error:
            raise SignatureError(
                f"tool {called}: no schema can be made of its parameters: {str(error).splitlines()[0]}",
                hint="Annotate them with types that JSON has.",
            ) from error
        try:
            tool = cls(
                name=called, description=description or inspect.getdoc(function) or "", parameters=parameters
            )
        except ValidationError as error:
            raise SignatureError(
                f"tool {called!r}: {first_fault(error, {}).reason}", hint="Pass name=: letters, digits, _ and -."
            ) from None
        tool._function, tool._arguments = function, arguments
        return tool

    def validated(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of one call, typed and with defaults.

        Raises:
            InputError: Naming the argument that is missing, unknown or of the wrong type.
            ProgramError: The tool has no function.
        """
        try:
            model = self._callable(self._arguments).validate_python(dict(arguments))
        except ValidationError as error:
            fault = first_fault(error, arguments)
            names = ", ".join(self._names())
            raise InputError(fault.field, fault.reason, hint=f"{self.name} takes: {names or 'nothing'}.") from None
        return {name: getattr(model, name) for name in type(model).model_fields}

    async def __call__(self, **arguments: Any) -> Any:
        """Call the function with validated arguments; one that is not async runs in a thread.

        Raises:
            InputError, ProgramError: As ``validated``; and whatever the function raises.
        """
        function, given = self._callable(self._function), self.validated(arguments)
        if inspect.iscoroutinefunction(function):
            return await function(**given)
        import anyio.to_thread  # late: most programs have no tools

        result = await anyio.to_thread.run_sync(lambda: function(**given), abandon_on_cancel=True)
        return await result if isinstance(result, Awaitable) else result

    def _names(self) -> list[str]:
        properties = self.parameters.get("properties")
        return list(properties) if isinstance(properties, dict) else []

    def _callable(self, part: _T | None) -> _T:
        if part is None:
            raise ProgramError(
                f"tool {self.name} has no function: it was read from JSON", hint="Make it with Tool.of(function)."
            )
        return part


_NAMES: Final = ("name", "tool", "tool_name", "function")
_ARGUMENTS: Final = ("arguments", "args", "input", "parameters", "kwargs")


def coerce_call(value: object) -> tuple[object, str]:
    """A call as a provider writes it, or as Python: ``search(query="cats", limit=3)``.

    Raises:
        ValueError: It is none of these, or names its tool or its arguments twice.
    """
    if isinstance(value, str):
        return _python_call(value), f"{shown(value)} as a call"
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is no call of a tool")
    told: list[str] = []
    if isinstance(value.get("function"), dict):  # OpenAI
        told += ["what is in `function` as the call", *left_out(value, ("function", "id", "type"))]
        value = {**value["function"], **({"id": value["id"]} if "id" in value else {})}
    told += left_out(value, (*_NAMES, *_ARGUMENTS, "id"))
    name = _one_of(value, _NAMES, told)
    if name is None:
        raise ValueError(f"{shown(value)} names no tool")
    arguments = _one_of(value, _ARGUMENTS, told)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ValueError("the arguments are not JSON") from None
        told.append("arguments as text as an object")
    if arguments is None:
        arguments = {}
        told.append("no arguments as none")
    call = {"name": name, "arguments": arguments}
    if value.get("id") is not None:
        call["id"] = value["id"]
    return call, "; ".join(told)


def _one_of(value: dict[str, Any], names: tuple[str, ...], told: list[str]) -> Any:
    """What stands under one of ``names``; of several, the one that is not empty."""
    given = [name for name in names if name in value]
    filled = [name for name in given if value[name] not in ({}, None, "")] or given[:1]
    if len(filled) > 1:
        raise ValueError(f"{' and '.join(f'`{name}`' for name in filled)} both tell the {names[0]}")
    for name in given:
        if name not in filled:
            told.append(f"past `{name}`, which is empty")
    if not filled:
        return None
    if filled[0] != names[0]:
        told.append(f"`{filled[0]}` as `{names[0]}`")
    return value[filled[0]]


def _python_call(text: str) -> dict[str, object]:
    """Read as a syntax tree: nothing is evaluated but literals."""
    try:
        if len(text) > _LONGEST_CALL:
            raise ValueError
        tree = ast.parse(text.strip(), mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.args:
            raise ValueError
        arguments = {str(each.arg): ast.literal_eval(each.value) for each in tree.keywords if each.arg}
        json.dumps(arguments, allow_nan=False)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(f"{shown(text)} is no call with named arguments") from None
    return {"name": tree.func.id, "arguments": arguments, "id": ""}


TYPES.register("Tool", Tool)
TYPES.register("ToolCall", ToolCall, coerce=coerce_call)
TYPES.register("ToolResult", ToolResult)
