"""``import repertory`` is cheap, and every public name is there."""

import subprocess
import sys

import pytest

import repertory
from repertory.signatures.type_registry import TYPES

HEAVY = (
    "pydantic",
    "aiohttp",
    "sqlalchemy",
    "cyclopts",
    "rich",
    "structlog",
    "prometheus_client",
    "bm25s",
    "orjson",
)


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_loads_nothing_heavy() -> None:
    assert loaded_by("import repertory") & set(HEAVY) == set()


def test_the_command_line_does_not_load_the_runtime() -> None:
    assert loaded_by("import repertory.cli.main") & {"pydantic", "aiohttp", "sqlalchemy"} == set()


@pytest.mark.parametrize("name", repertory.__all__)
def test_every_public_name_is_there(name: str) -> None:
    found = getattr(repertory, name)
    entry = TYPES.get(name)
    assert entry.annotation == found if entry is not None else found.__name__ == name
    assert name in dir(repertory)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'repertory' has no attribute 'Predictt'"):
        _ = repertory.Predictt
