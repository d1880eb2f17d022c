"""Text that is safe to show: what rows, models and servers say must not steer the terminal."""


def printable(text: str) -> str:
    """``text`` with everything but line breaks that has no glyph (escape sequences, controls) made visible."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)
