"""What a person sees of a supervision tree: a line for each actor, below it what went wrong."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from types import MappingProxyType
from typing import Final

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from repertory.actors.info import ActorInfo, MailboxStats
from repertory.cli.daemon_client import Circuit, DaemonTree, ProgramRuns
from repertory.cli.printable import printable

COLUMNS: Final = ("ACTOR", "KIND", "STATE", "AGE", "LIFE", "RESTARTS", "MAILBOX", "HANDLING")
ACTOR, KIND, HANDLING = COLUMNS.index("ACTOR"), COLUMNS.index("KIND"), COLUMNS.index("HANDLING")
NUMBERS: Final = frozenset({"LIFE", "RESTARTS", "AGE"})  # aligned to the right
GAP: Final = 2  # cells between columns; 1 where there is little room
LEAST: Final = ((KIND, 8), (ACTOR, 16))  # cells left to these columns, the first the first to be cut
NARROWEST: Final = 20  # cells for an error, however deep its actor is in the tree

STATE_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "running": "green",
        "starting": "yellow",
        "restarting": "bold yellow",
        "stopping": "yellow",
        "passivated": "dim",
        "stopped": "bold red",
    }
)


@dataclass(frozen=True, slots=True)
class _Row:
    """An actor as text: ``cells`` as `COLUMNS` has them, ``margin`` the tree's lines in what is told below it."""

    actor: ActorInfo
    cells: tuple[str, ...]
    margin: str


def tree_lines(tree: DaemonTree, width: int) -> list[Text]:
    """The whole tree, in start order, in lines of at most ``width`` cells.

    Where not all columns fit, what an actor is handling is told below it, and long names are cut.
    """
    rows = list(_rows(tree.actors))
    lines = [Text(line) for line in _wrapped(_summary(tree, rows), width)]
    if work := _work(tree):
        lines += [Text(line) for line in _wrapped(work, width)]
    lines += [Text(line, "bold red") for trouble in _troubles(tree) for line in _wrapped(trouble, width)]
    if not rows:
        return lines
    lines.append(Text())
    cells = [COLUMNS, *(row.cells for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    beside = _total(widths, GAP) <= width
    if not beside:
        widths.pop(HANDLING)
    gap = GAP if _total(widths, GAP) <= width else 1
    widths = _squeezed(widths, gap, width)
    lines.append(_line([(cell, "bold") for cell in COLUMNS], widths, gap, width))
    for row in rows:
        lines.append(_line(list(zip(row.cells, _styles(row.actor), strict=True)), widths, gap, width))
        if row.cells[HANDLING] and not beside:
            lines += _below(row.margin, "▸ ", row.cells[HANDLING], "cyan", width)
        if pressure := _pressure(row.actor.mailbox):
            lines += _below(row.margin, "! ", pressure, "bold red" if row.actor.mailbox.drops else "yellow", width)
        if row.actor.last_error is not None:
            lines += _below(row.margin, "✗ ", _shown(row.actor.last_error), "red", width)
    return lines


def human_age(seconds: float) -> str:
    """``seconds`` in the two largest units that matter, such as 3m 12s."""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def _rows(actors: Sequence[ActorInfo], margin: str = "", above: str = "") -> Iterator[_Row]:
    for actor in actors:
        last = actor is actors[-1]
        branch, below = ("", "") if not above else ("└ ", "  ") if last else ("├ ", "│ ")
        inner = margin + below
        cells = (
            margin + branch + _shown(actor.path.removeprefix(above)),
            _shown(actor.kind) or "-",
            _shown(actor.state),
            human_age(actor.age) if actor.age is not None else "-",
            str(actor.incarnation),
            str(actor.restarts),
            _depth(actor.mailbox),
            _handling(actor.handling),
        )
        yield _Row(actor, cells, inner + ("│ " if actor.children else "  "))
        yield from _rows(actor.children, inner, f"{actor.path}/")


def _summary(tree: DaemonTree, rows: Sequence[_Row]) -> str:
    daemon = f"repertory {_shown(tree.version)}, pid {tree.pid}"
    if not rows:
        return f"{daemon}: no actors; it is about to start or to end"
    states = Counter(_shown(row.actor.state) for row in rows)
    shares = ", ".join(f"{count} {state}" for state, count in states.most_common())
    restarts = sum(row.actor.restarts for row in rows)
    drops = sum(row.actor.mailbox.drops for row in rows)
    return f"{daemon}: {len(rows)} actors ({shares}), {restarts} restarts, {drops} messages dropped"


def _work(tree: DaemonTree) -> str:
    """What the daemon is at; "" if that is nothing."""
    busy = [runs for runs in tree.runs if runs.called or runs.submitted or runs.beginning]
    if not busy:
        return ""
    steps = tree.steps
    waiting = f"{steps.ready} wait for their turn, {steps.blocked} for other steps"
    return f"runs: {', '.join(map(_counted, busy))}; steps: {steps.under_way} under way, {waiting}"


def _counted(runs: ProgramRuns) -> str:
    kinds = {"called": runs.called, "submitted": runs.submitted, "about to begin": runs.beginning}
    shares = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return f"{_shown(runs.program)} ({shares})"


def _troubles(tree: DaemonTree) -> Iterator[str]:
    """What no actor is to blame for."""
    if tree.journal_failure is not None:
        yield f"the journal cannot be written: {_shown(tree.journal_failure)}"
    yield from (_opened(circuit) for circuit in tree.circuits if circuit.state == "open")


def _opened(circuit: Circuit) -> str:
    # When its time is over it waits for a call to probe it with, which may be long in coming.
    rest = f"for another {max(1, circuit.open_for):.0f} s" if circuit.open_for > 0 else "until a call probes it"
    return f"circuit of {_shown(circuit.endpoint)!r}: open {rest}"


def _depth(mailbox: MailboxStats) -> str:
    depth, most = mailbox.depth, mailbox.high_water
    return f"{depth} (max {most})" if most > depth else str(depth)


def _pressure(mailbox: MailboxStats) -> str:
    """What came of the mailbox having been full; "" if it never was."""
    dropped = f"{mailbox.drops} messages dropped" if mailbox.drops else ""
    waited = f"{mailbox.waits} asks waited for room" if mailbox.waits else ""
    told = ", ".join(filter(None, (dropped, waited)))
    return f"the mailbox was full: {told}" if told else ""


def _handling(messages: Sequence[str]) -> str:
    counts = Counter(_shown(message) for message in messages)
    return ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in counts.items())


def _styles(actor: ActorInfo) -> tuple[str, ...]:
    restarts = "yellow" if actor.restarts else ""
    waiting = "yellow" if actor.mailbox.depth else ""
    return ("", "dim", STATE_STYLES.get(actor.state, ""), "", "", restarts, waiting, "cyan")


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _squeezed(widths: Sequence[int], gap: int, width: int) -> list[int]:
    """``widths`` with some columns cut, so that together they fit where that can be."""
    widths = [*widths]
    excess = _total(widths, gap) - width
    for column, least in LEAST:
        cut = max(0, min(excess, widths[column] - least))
        widths[column] -= cut
        excess -= cut
    return widths


def _line(cells: Sequence[tuple[str, str]], widths: Sequence[int], gap: int, width: int) -> Text:
    line = Text()
    for name, (cell, style), cells_wide in zip(COLUMNS, cells, widths, strict=False):
        missing = " " * (cells_wide - cell_len(cell))
        line.append(" " * gap if line else "")
        line.append(missing if name in NUMBERS else "")
        line.append(_cut(cell, cells_wide), style)
        line.append("" if name in NUMBERS else missing)
    line.truncate(width)
    line.rstrip()
    return line


def _below(margin: str, mark: str, text: str, style: str, width: int) -> list[Text]:
    """Lines with ``text`` below an actor; only the first has the ``mark``."""
    margin = _cut(margin, max(0, width - NARROWEST))
    pieces = _wrapped(text, width - cell_len(margin + mark))
    indents = [mark, *[" " * cell_len(mark)] * (len(pieces) - 1)]
    return [Text.assemble(margin, (indent + piece, style)) for indent, piece in zip(indents, pieces, strict=True)]


def _wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells; some characters fill two."""
    width = max(width, 2)
    return [piece for line in wrap(text, width) for piece in chop_cells(line, width)] or [""]


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1))}…"


def _shown(text: str) -> str:
    return printable(" ".join(text.split()))
