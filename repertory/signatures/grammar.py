"""The string form of a signature: ``"article: str, limit: int = 3 -> topic: Literal['sports', 'business']"``.

::

    signature  = fields "->" fields
    fields     = field ("," field)*
    field      = name [":" type] ["=" default]        (a default for inputs only; "..." is none)
    type       = name | name "[" type ("," type)* "]" | type "|" type | "Literal" "[" value ("," value)* "]"

Types and defaults are read as syntax trees and looked up in a table; nothing is evaluated. Every error shows
the text with a caret under the column at fault.
"""

import ast
import functools
import operator
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, Final, Literal

from repertory.errors import SignatureError
from repertory.signatures.fields import MISSING, DeclaredField, FieldMark, Role, check_name

PLAIN_TYPES: Final[Mapping[str, Any]] = types.MappingProxyType(
    {
        "str": str,
        "int": int,
        "float": float,
        "bool": bool,
        "list": list,
        "dict": dict,
        "tuple": tuple,
        "set": set,
        "List": list,
        "Dict": dict,
        "Tuple": tuple,
        "Set": set,
        "Any": Any,
        "date": date,
        "datetime": datetime,
    }
)
_ARGUMENTS: Final[Mapping[Any, int]] = types.MappingProxyType({list: 1, set: 1, dict: 2})
_FORMS: Final = ("Literal", "Optional", "Union", "None")
_CLOSING: Final = types.MappingProxyType({"(": ")", "[": "]", "{": "}"})
_SHOWN: Final = 60  # characters of the text shown on either side of the caret

# What ast.parse and ast.literal_eval raise on text that is malformed, holds NULs or lone surrogates, or is
# nested too deeply for them.
_UNREADABLE: Final = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)


def parse_fields(text: str, custom: Mapping[str, Any]) -> tuple[DeclaredField, ...]:
    """Read the string form; inputs first, then outputs, each in the order written.

    Args:
        text: The signature.
        custom: Further types by the name ``text`` uses for them; they come before the built-in ones.

    Raises:
        SignatureError: With a caret under the offending column and the remedy.
    """
    # One line, columns unchanged: line breaks are spaces to the grammar, and a caret needs one line.
    return _Reader("".join(" " if char.isspace() else char for char in text), custom).fields()


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Reader:
    text: str
    custom: Mapping[str, Any]

    def fields(self) -> tuple[DeclaredField, ...]:
        marks = list(self._separators())
        arrows = [column for mark, column in marks if mark == "->"]
        if not arrows:
            raise self._fault(len(self.text), "there is no `->`", "Write `inputs -> outputs`.")
        if len(arrows) > 1:
            raise self._fault(
                arrows[1], "there is a second `->`", "Write all outputs after the first, with commas."
            )
        arrow = arrows[0]
        found: dict[str, DeclaredField] = {}
        sides: tuple[tuple[Role, _Span], ...] = (
            ("input", _Span(0, arrow)),
            ("output", _Span(arrow + 2, len(self.text))),
        )
        for role, side in sides:
            for piece in self._pieces(side, marks):
                declared = self._field(piece, role, marks)
                if earlier := found.get(declared.name):
                    raise self._repeated(piece, declared, earlier)
                found[declared.name] = declared
        return tuple(found.values())

    def _separators(self) -> Iterator[tuple[str, int]]:
        """Each ``->``, comma, colon and equals sign outside brackets and quotes, with its column."""
        opened: list[int] = []
        column = 0
        while column < len(self.text):
            char = self.text[column]
            if char in "'\"":
                column = self._quote_end(column)
            elif char in _CLOSING:
                opened.append(column)
            elif char in _CLOSING.values():
                if not opened or _CLOSING[self.text[opened.pop()]] != char:
                    raise self._fault(
                        column, f"`{char}` closes nothing", f"Remove it, or open it before column {column}."
                    )
            elif not opened and self.text.startswith("->", column):
                yield "->", column
                column += 1
            elif not opened and char in ",:=":
                yield char, column
            column += 1
        if opened:
            char = self.text[opened[-1]]
            raise self._fault(
                opened[-1], f"`{char}` is never closed", f"Add `{_CLOSING[char]}` after what it holds."
            )

    def _quote_end(self, start: int) -> int:
        column = start + 1
        while column < len(self.text) and self.text[column] != self.text[start]:
            column += 2 if self.text[column] == "\\" else 1
        if column >= len(self.text):
            raise self._fault(
                start, "this quote is never closed", f"Add {self.text[start]} after the text it holds."
            )
        return column

    def _pieces(self, side: _Span, marks: list[tuple[str, int]]) -> Iterator[_Span]:
        start = side.start
        commas = [column for mark, column in marks if mark == "," and side.start <= column < side.end]
        for end in (*commas, side.end):
            yield _Span(start, end)
            start = end + 1

    def _field(self, piece: _Span, role: Role, marks: list[tuple[str, int]]) -> DeclaredField:
        inside = [(mark, column) for mark, column in marks if piece.start <= column < piece.end]
        equals = next((column for mark, column in inside if mark == "="), piece.end)
        colon = next((column for mark, column in inside if mark == ":" and column < equals), equals)
        name = self._name(_Span(piece.start, colon), role)
        annotation = self._annotation(name, _Span(colon + 1, equals)) if colon < equals else str
        default: object = MISSING
        if equals < piece.end:
            if role == "output":
                raise self._fault(
                    equals, f"output `{name}` has a default", "Remove it: the model answers every output."
                )
            default = self._default(name, _Span(equals + 1, piece.end))
        return DeclaredField(name, annotation, FieldMark(role, default=default))

    def _name(self, span: _Span, role: Role) -> str:
        span = self._trimmed(span)
        name = self.text[span.start : span.end]
        if not name:
            raise self._fault(
                span.start,
                f"the name of an {role} is missing",
                f"Write one {role} between each pair of commas, at least one.",
            )
        try:
            check_name(name, role)
        except SignatureError as error:
            hint = "Separate fields with commas." if " " in name else error.hint or ""
            raise self._fault(span.start, error.message, hint) from None
        return name

    def _annotation(self, name: str, span: _Span) -> Any:
        span = self._trimmed(span)
        if span.start == span.end:
            raise self._fault(
                span.start, f"the type of `{name}` is missing", f"Write `{name}: str`, or drop the colon."
            )
        source = self.text[span.start : span.end]
        try:
            tree = ast.parse(source, mode="eval")
            return _TypeReader(self, span.start, source, name).resolve(tree.body)
        except _UNREADABLE as error:
            column = (getattr(error, "offset", None) or 1) - 1
            raise self._fault(
                span.start + min(column, len(source)),
                f"the type of `{name}` cannot be read",
                "Write a type such as `str`, `list[int]`, `int | None` or `Literal['a', 'b']`.",
            ) from None

    def _default(self, name: str, span: _Span) -> object:
        span = self._trimmed(span)
        try:
            value: object = ast.literal_eval(self.text[span.start : span.end])
        except _UNREADABLE:
            raise self._fault(
                span.start,
                f"the default of `{name}` cannot be read",
                "Write a plain Python value such as `3`, `'text'`, `[]` or `None`.",
            ) from None
        return MISSING if value is Ellipsis else value

    def _repeated(self, piece: _Span, later: DeclaredField, earlier: DeclaredField) -> SignatureError:
        column = self._trimmed(piece).start
        name = later.name
        if later.mark.role == earlier.mark.role:
            return self._fault(column, f"`{name}` is declared twice", "Remove one, or give it another name.")
        return self._fault(
            column, f"`{name}` is an input and an output", f"Give the output another name, such as `new_{name}`."
        )

    def _trimmed(self, span: _Span) -> _Span:
        source = self.text[span.start : span.end]
        start = span.start + len(source) - len(source.lstrip())
        return _Span(start, max(start, span.start + len(source.rstrip())))

    def _fault(self, column: int, problem: str, hint: str) -> SignatureError:
        first, last = max(0, column - _SHOWN), column + _SHOWN
        lead = "..." if first else ""
        trail = "..." if last < len(self.text) else ""
        shown = f"{lead}{self.text[first:last]}{trail}"
        caret = " " * (len(lead) + column - first) + "^"
        return SignatureError(f"{problem}\n  {shown}\n  {caret}", hint=hint)


@dataclass(frozen=True, slots=True)
class _TypeReader:
    """Turns the syntax tree of one annotation into the type it names."""

    reader: _Reader
    start: int  # column of `source` in the whole text
    source: str
    field: str

    def resolve(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None):
                return types.NoneType
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                return self._union(node, [self.resolve(left), self.resolve(right)])
            case ast.Subscript(value=ast.Name(id="Literal"), slice=slice_):
                return _literal_type(tuple(map(self._literal, _items(slice_))))
            case ast.Subscript(value=ast.Name(id="Optional"), slice=slice_):
                return self._union(node, [self.resolve(slice_), types.NoneType])
            case ast.Subscript(value=ast.Name(id="Union"), slice=slice_):
                return self._union(node, [self.resolve(item) for item in _items(slice_)])
            case ast.Subscript(value=base, slice=slice_):
                return self._generic(node, self.resolve(base), _items(slice_))
            case _:
                raise self._fault(
                    node, "is not a type", "Write a type's name; text in quotes belongs inside `Literal[...]`."
                )

    def _named(self, node: ast.Name | ast.Attribute) -> Any:
        name = ast.unparse(node)
        if name in self.reader.custom:
            return self.reader.custom[name]
        if name in PLAIN_TYPES:
            return PLAIN_TYPES[name]
        if name in _FORMS:
            raise self._fault(node, "needs its arguments", f"Write them in brackets, such as `{name}[...]`.")
        near = get_close_matches(name, [*self.reader.custom, *PLAIN_TYPES, *_FORMS], n=1)
        meant = f"Did you mean `{near[0]}`? " if near else ""
        raise self._fault(
            node, "is not a known type", f'{meant}Pass your own types with types={{"{name}": {name}}}.'
        )

    def _generic(self, node: ast.expr, base: Any, items: list[ast.expr]) -> Any:
        if base is tuple and len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is Ellipsis:
            return base[self.resolve(items[0]), ...]
        arguments = tuple(self.resolve(item) for item in items)
        wanted = _ARGUMENTS.get(base, len(arguments))
        if len(arguments) != wanted:
            raise self._fault(node, f"has {len(arguments)} arguments", f"Give it exactly {wanted}.")
        try:
            return base[arguments]
        except TypeError:
            raise self._fault(node, "takes no arguments", "Remove the brackets.") from None

    def _union(self, node: ast.expr, members: list[Any]) -> Any:
        try:
            return functools.reduce(operator.or_, members)
        except TypeError:
            raise self._fault(
                node, "cannot be a union", "Join types only; text belongs in `Literal[...]`."
            ) from None

    def _literal(self, node: ast.expr) -> str | int | bool | None:
        try:
            value = ast.literal_eval(node)
        except ValueError:
            value = ...
        if value is None or isinstance(value, str | int):
            return value
        raise self._fault(
            node, "cannot be a Literal's value", "Use text in quotes, whole numbers, True, False or None."
        )

    def _fault(self, node: ast.expr, problem: str, hint: str) -> SignatureError:
        before = self.source.encode()[: node.col_offset].decode()  # ast counts columns in UTF-8 bytes
        text = ast.get_source_segment(self.source, node) or ""
        column = self.start + len(before)
        return self.reader._fault(column, f"the type of `{self.field}`: `{text}` {problem}", hint)


def _literal_type(values: tuple[str | int | bool | None, ...]) -> Any:
    form: Any = Literal  # mypy reads a subscripted Literal as a type expression
    return form[values]


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]
