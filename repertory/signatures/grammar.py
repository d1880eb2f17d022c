"""The string form of a signature: ``"article: str, limit: int = 3 -> topic: Literal['sports', 'business']"``.

::

    signature  = fields "->" fields
    fields     = field ("," field)*
    field      = name [":" type] ["=" default]        ("..." is no default)

Types are those of ``type_reader``, defaults those of ``plain_values``: read as syntax trees and looked up,
nothing is evaluated. Every error shows the line with a caret under the column at fault.
"""

import ast
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from repertory.errors import SignatureError
from repertory.signatures.fields import MISSING, DeclaredField, FieldMark, Role, check_name, copied
from repertory.signatures.plain_values import NotPlain, read_value
from repertory.signatures.scope import Scope
from repertory.signatures.source import Source, clipped
from repertory.signatures.type_reader import TypeReader

LONGEST: Final = 200_000
"""Characters a signature may have: some ten thousand labels of a Literal, read in well under a second."""

_DEEPEST: Final = 64  # brackets inside each other; Python's own parser gives up at 200
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}

_TOKEN: Final = re.compile(
    r"""(?P<quoted>(?P<prefix>[rRbBuU]{0,2})(?:'(?:[^'\\\r\n]|\\.)*'|"(?:[^"\\\r\n]|\\.)*"))
    |(?P<arrow>->)|(?P<opening>[\[({])|(?P<closing>[\])}])|(?P<mark>[,:=])|(?P<space>\s+)|(?P<stray>['"\#])""",
    re.VERBOSE,
)
_UNREADABLE_CHARACTER: Final = re.compile("[\0\ud800-\udfff]")
_NO_ESCAPE: Final = re.compile(r"\\(?:(?P<known>[\n\\'\"abfnrtvxNuU0-7])|(?P<unknown>.))", re.DOTALL)

# What ast.parse raises on text that is malformed or nested too deeply for it.
_UNREADABLE: Final = (SyntaxError, ValueError, RecursionError, MemoryError)


def parse_fields(text: str, scope: Scope) -> tuple[DeclaredField, ...]:
    """Read the string form; inputs first, then outputs, each in the order written.

    Raises:
        SignatureError: With a caret under the offending column and the remedy.
    """
    return _Reader.of(text, scope).fields()


def parse_type(text: str, scope: Scope) -> Any:
    """Read what may stand behind a field's colon.

    Raises:
        SignatureError: As for ``parse_fields``.
    """
    return _Reader.of(text, scope).whole_type()


def parse_value(text: str, scope: Scope) -> object:
    """Read what may stand behind a field's equals sign.

    Raises:
        SignatureError: As for ``parse_fields``.
    """
    return _Reader.of(text, scope).value("the value", _Span(0, len(text)))


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """What stands between two commas: where its colon and its equals sign are, its end if it has none."""

    span: _Span
    colon: int
    equals: int


@dataclass(frozen=True, slots=True)
class _Reader:
    """``text`` is what ``source`` holds with line breaks as spaces, outside quotes; columns are the same."""

    source: Source
    text: str
    marks: tuple[tuple[str, int], ...]  # each arrow, comma, colon, equals sign outside brackets, with its column
    scope: Scope

    @classmethod
    def of(cls, text: str, scope: Scope) -> "_Reader":
        if not isinstance(text, str):
            raise SignatureError(
                f"a signature's string form is text, got {type(text).__name__}", hint='Write "question -> answer".'
            )
        source = Source(text)
        if len(text) > LONGEST:
            raise source.fault(
                LONGEST,
                f"the text has {len(text):,} characters, more than {LONGEST:,}",
                "Use the class form; a choice among so many values belongs in an Enum.",
            )
        if found := _UNREADABLE_CHARACTER.search(text):
            code = ord(found[0])
            what = f"U+{code:04X}, half of a surrogate pair" if code else "NUL, the character U+0000"
            raise source.fault(found.start(), f"the text holds {what}", "Remove it.")
        flat = list(text)
        marks = tuple(_marks(source, flat))
        return cls(source, "".join(flat), marks, scope)

    def fields(self) -> tuple[DeclaredField, ...]:
        arrows = [column for mark, column in self.marks if mark == "->"]
        if not arrows:
            problem = "there is no `->`" if self.text.strip() else "the text is empty: there is no `->`"
            raise self.source.fault(len(self.text), problem, "Write `inputs -> outputs`.")
        if len(arrows) > 1:
            raise self.source.fault(
                arrows[1], "there is a second `->`", "Write all outputs after the first, with commas."
            )
        found: dict[str, DeclaredField] = {}
        for piece in self._pieces():
            declared = self._field(piece, "input" if piece.span.end <= arrows[0] else "output")
            if earlier := found.get(declared.name):
                raise self._repeated(piece, declared, earlier)
            found[declared.name] = declared
        return tuple(found.values())

    def whole_type(self) -> Any:
        return self._annotation("the type", _Span(0, len(self.text)))

    def value(self, what: str, span: _Span) -> object:
        span = self._trimmed(span)
        tree = self._tree(
            span, f"{what} cannot be read", "Write a plain Python value such as `3`, `'text'`, `[]` or `None`."
        )
        try:
            return read_value(tree, self.scope)
        except NotPlain as error:
            raise self._node_fault(
                span,
                error.node,
                f"{what} cannot be read: `{{}}` {error.reason}",
                "Write a plain Python value such as `3`, `'text'`, `[]` or `None`.",
            ) from None

    def _pieces(self) -> Iterator[_Piece]:
        start = 0
        colon = equals = None
        for mark, column in (*self.marks, (",", len(self.text))):
            if mark in (",", "->"):
                end_colon = column if colon is None else colon
                yield _Piece(_Span(start, column), end_colon, column if equals is None else equals)
                start, colon, equals = column + len(mark), None, None
            elif mark == "=" and equals is None:
                equals = column
            elif mark == ":" and colon is None and equals is None:
                colon = column

    def _field(self, piece: _Piece, role: Role) -> DeclaredField:
        name = self._name(_Span(piece.span.start, min(piece.colon, piece.equals)), role)
        has_type, has_default = piece.colon < piece.equals, piece.equals < piece.span.end
        annotation: Any = str
        if has_type:
            span = self._trimmed(_Span(piece.colon + 1, piece.equals))
            if span.start == span.end:
                raise self.source.fault(
                    span.start, f"the type of `{name}` is missing", f"Write `{name}: str`, or drop the colon."
                )
            annotation = self._annotation(f"the type of `{name}`", span)
        default: object = MISSING
        if has_default:
            span = self._trimmed(_Span(piece.equals + 1, piece.span.end))
            if self.text[span.start : span.end] != "...":
                default = self.value(f"the default of `{name}`", span)
        return DeclaredField(name, annotation, FieldMark(role, default=copied(default)))

    def _name(self, span: _Span, role: Role) -> str:
        span = self._trimmed(span)
        # As Python does with identifiers, so that the name can be given as a keyword argument.
        name = unicodedata.normalize("NFKC", self.text[span.start : span.end])
        if not name:
            raise self.source.fault(
                span.start,
                f"the name of an {role} is missing",
                f"Write one {role} between each pair of commas, at least one.",
            )
        try:
            check_name(name, role)
        except SignatureError as error:
            hint = "Separate fields with commas." if " " in name else error.hint or ""
            raise self.source.fault(span.start, error.message, hint) from None
        return name

    def _annotation(self, what: str, span: _Span) -> Any:
        span = self._trimmed(span)
        tree = self._tree(
            span,
            f"{what} cannot be read",
            "Write a type such as `str`, `list[int]`, `int | None` or `Literal['a', 'b']`.",
        )

        def told(node: ast.expr, problem: str, hint: str) -> SignatureError:
            return self._node_fault(span, node, f"{what}: `{{}}` {problem}", hint)

        try:
            return TypeReader(self.scope, told).resolve(tree)
        except RecursionError:
            raise self.source.fault(span.start, f"{what} is nested too deeply", "Name a part of it.") from None

    def _tree(self, span: _Span, problem: str, hint: str) -> ast.expr:
        text = self.text[span.start : span.end]
        try:
            return ast.parse(text, mode="eval").body
        except _UNREADABLE as error:
            column = (getattr(error, "offset", None) or 1) - 1
            raise self.source.fault(span.start + min(column, len(text)), problem, hint) from None

    def _repeated(self, piece: _Piece, later: DeclaredField, earlier: DeclaredField) -> SignatureError:
        column = self._trimmed(piece.span).start
        name = clipped(later.name)
        if later.mark.role == earlier.mark.role:
            return self.source.fault(column, f"`{name}` is declared twice", "Remove one, or give it another name.")
        return self.source.fault(
            column, f"`{name}` is an input and an output", f"Give the output another name, such as `new_{name}`."
        )

    def _trimmed(self, span: _Span) -> _Span:
        text = self.text[span.start : span.end]
        start = span.start + len(text) - len(text.lstrip())
        return _Span(start, max(start, span.start + len(text.rstrip())))

    def _node_fault(self, span: _Span, node: ast.expr, problem: str, hint: str) -> SignatureError:
        """The error at ``node`` of the tree that was read from ``span``; its text goes into ``problem``."""
        text = self.text[span.start : span.end].encode()  # ast counts columns in UTF-8 bytes
        column = span.start + len(text[: node.col_offset].decode())
        shown = text[node.col_offset : node.end_col_offset].decode()
        return self.source.fault(column, problem.replace("{}", clipped(shown), 1), hint)


def _marks(source: Source, flat: list[str]) -> Iterator[tuple[str, int]]:
    """The marks outside brackets and quotes; on the way, line breaks in ``flat`` become spaces."""
    opened: list[tuple[str, int]] = []
    for token in _TOKEN.finditer(source.text):
        kind, text, column = token.lastgroup, token[0], token.start()
        match kind:
            case "space":
                flat[column : token.end()] = " " * len(text)
            case "quoted":
                _check_escapes(source, token)
            case "opening":
                if len(opened) == _DEEPEST:
                    raise source.fault(
                        column,
                        f"brackets are nested more than {_DEEPEST} deep",
                        "Define a model for the inner part.",
                    )
                opened.append((text, column))
            case "closing":
                if not opened or _CLOSING[opened.pop()[0]] != text:
                    raise source.fault(
                        column, f"`{text}` closes nothing", f"Remove it, or open it before column {column}."
                    )
            case "stray" if text == "#":
                raise source.fault(column, "`#` starts no comment here", "Remove the comment.")
            case "stray":
                raise source.fault(
                    column, "this quote is never closed", f"Add {text} after the text it holds, in the same line."
                )
            case _ if not opened:
                yield text, column
    if opened:
        text, column = opened[-1]
        raise source.fault(column, f"`{text}` is never closed", f"Add `{_CLOSING[text]}` after what it holds.")


def _check_escapes(source: Source, token: re.Match[str]) -> None:
    # Python warns of these at run time, on behalf of a file that does not exist.
    if "\\" not in token[0] or "r" in token["prefix"].lower():
        return
    for escape in _NO_ESCAPE.finditer(token[0]):
        if escape["unknown"]:
            raise source.fault(
                token.start() + escape.start(),
                f"`{escape[0]}` is not an escape",
                f"Write `\\{escape[0]}`, or put an r before the quote.",
            )
