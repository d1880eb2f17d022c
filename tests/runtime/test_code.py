"""The fingerprint of a program's code: it changes with what is done, and with nothing else."""

import functools
import os
import subprocess
import sys
from typing import Any

import pytest

import repertory as rp
from repertory.runtime.code import code_fingerprint

PROGRAM = """
class Program(rp.Module):
    def __init__(self):
        self.ask = rp.Predict("text -> word")

    async def forward(self, text: str) -> rp.Prediction:
        "What it does."
        return await self.ask(text=self.worded(text))

    def worded(self, text):
        return text
"""


def fingerprint(code: str, **names: Any) -> str:
    """That of the program ``code`` makes, as it would be typed at a prompt."""
    home: dict[str, Any] = {"rp": rp, "functools": functools, **names}
    exec(code, home)  # the test's own code
    return code_fingerprint(home["Program"]())


def test_what_only_reads_otherwise_is_the_same() -> None:
    commented = PROGRAM.replace("return text", "return text  # as it is").replace("What it does", "Something else")
    assert fingerprint(PROGRAM) == fingerprint(commented) == fingerprint(PROGRAM, __name__="elsewhere")


METHODS = {
    "ordinary": "def more(self): return 1",
    "asynchronous": "async def more(self): return 1",
    "static": "@staticmethod\n    def more(): return 1",
    "class": "@classmethod\n    def more(cls): return 1",
    "property": "more = property(lambda self: 1)",
    "cached property": "@functools.cached_property\n    def more(self): return 1",
    "lambda": "more = lambda self: 1",
    "decorated": "@decorated\n    def more(self): return 1",
    "default": "def more(self, by=1): return by",
    "nested": "def more(self): return [(lambda: 1)() for _ in self]",
}
DECORATOR = """
def decorated(function):
    def wrapped(self): return function(self)
    return wrapped
"""


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_changed_method_of_any_kind_tells(method: str) -> None:
    before, after = (f"{DECORATOR}{PROGRAM}\n    {each}\n" for each in (method, method.replace("1", "2")))
    assert fingerprint(before) != fingerprint(after)
    assert fingerprint(before) == fingerprint(before)


def test_an_inherited_method_tells() -> None:
    inherits = f"{PROGRAM}\nBefore = Program\nclass Program(Before): pass"
    assert fingerprint(inherits) != fingerprint(inherits.replace("return text", "return text + '.'"))


ALIKE = """
def made(times):
    class Part(rp.Module):
        if times == 1:
            async def forward(self, text: str) -> rp.Prediction: return rp.Prediction(out=1)
        else:
            async def forward(self, text: str) -> rp.Prediction: return rp.Prediction(out=2)
    return Part()

class Program(rp.Module):
    def __init__(self): self.parts = [made(times) for times in (1, 2)]
    async def forward(self, text: str) -> rp.Prediction: return await self.parts[0](text=text)
"""


def test_classes_that_are_called_alike_are_told_apart_in_any_order() -> None:
    assert len({fingerprint(ALIKE) for _ in range(20)}) == 1
    assert fingerprint(ALIKE) != fingerprint(ALIKE.replace("out=2", "out=3"))


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "import repertory as rp\n"
        "from repertory.runtime.code import code_fingerprint\n"
        "class Program(rp.Module):\n"
        "    async def forward(self, text: str) -> rp.Prediction:\n"
        "        return rp.Prediction(known=text in {'a', 'b', 'c', 'd', 'e'})\n"
        "print(code_fingerprint(Program()))\n"
    )
    told = {
        subprocess.run(  # the test's own code
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "5")
    }
    assert len(told) == 1
