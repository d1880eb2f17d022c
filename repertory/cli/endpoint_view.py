"""What a person sees of a daemon's endpoints: a line for each, below it what is wrong with it."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from types import MappingProxyType
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from repertory.cli.daemon_client import DaemonEndpoints, EndpointLine
from repertory.cli.printable import printable

COLUMNS: Final = ("ENDPOINT", "MODEL", "HEALTH", "CIRCUIT", "IN FLIGHT", "WAITING", "CALLS", "FAILED", "RETRIES")
TEXTS: Final = 4  # of the columns; the others are numbers, aligned to the right
HEALTH_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"well": "green", "strained": "yellow", "down": "bold red"}
)


def endpoint_lines(daemon: DaemonEndpoints, width: int) -> list[Text]:
    """The endpoints, in the order of the configuration; reasons are wrapped to ``width`` cells."""
    lines = [Text(f"repertory {_shown(daemon.version)}, pid {daemon.pid}: {len(daemon.endpoints)} endpoints")]
    if not daemon.endpoints:
        return lines
    rows = [_cells(each) for each in daemon.endpoints]
    widths = [max(map(cell_len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines += [Text(), _line(COLUMNS, widths, "bold")]
    for endpoint, cells in zip(daemon.endpoints, rows, strict=True):
        style = HEALTH_STYLES.get(endpoint.health, "")
        lines.append(_line(cells, widths, style))
        lines += [Text(piece, style) for reason in endpoint.reasons for piece in _below(reason, width)]
    return lines


def _cells(endpoint: EndpointLine) -> tuple[str, ...]:
    limit = f" of {endpoint.concurrency}" if endpoint.concurrency is not None else ""
    return (
        *map(_shown, (endpoint.name, endpoint.model, endpoint.health, endpoint.circuit)),
        f"{endpoint.in_flight}{limit}",
        *map(str, (endpoint.waiting, endpoint.calls, endpoint.failures, endpoint.retries)),
    )


def _line(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    padded = [
        cell + " " * (wide - cell_len(cell)) if column < TEXTS else " " * (wide - cell_len(cell)) + cell
        for column, (cell, wide) in enumerate(zip(cells, widths, strict=True))
    ]
    return Text("  ".join(padded).rstrip(), style)


def _below(reason: str, width: int) -> Iterator[str]:
    for number, piece in enumerate(wrap(_shown(reason), max(20, width - 4))):
        yield f"    {piece}" if number else f"  ! {piece}"


def _shown(text: str) -> str:
    return printable(" ".join(text.split()))
