"""Files that a command writes with ``--out``: whole, or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from repertory.errors import ConfigError
from repertory.signatures.source import clipped


def write_whole(path: Path, text: str) -> None:
    """Make ``text`` the content of ``path``. Raises ConfigError if it cannot be written."""
    if not path.name:
        raise ConfigError(f"--out {str(path)!r} names no file", hint="Name a file, such as out.json.")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):  # the draft may be what could not be made
            draft.unlink(missing_ok=True)
        raise ConfigError(
            f"--out {clipped(str(path), 200)}: {error.strerror}",
            hint="Name a file in a directory you can write to.",
        ) from None
