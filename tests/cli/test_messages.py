"""What cannot be run is told in one clear line with the remedy, exit status 2, before anything is asked."""

import fcntl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repertory.cli.main import main
from tests.cli.command import PROGRAM, Workplace, workplace
from tests.endpoint import Hang


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with workplace(tmp_path) as place:
        place.write_rows([{"text": "a"}])
        yield place
        assert place.asked == []


async def told(place: Workplace, *arguments: str) -> str:
    """Run the command in a process, check the form of its message, return it."""
    ended = await place.call(*arguments)
    assert ended.status == 2, ended
    check_form(ended.stderr)
    return ended.stderr


def check_form(message: str) -> None:
    assert "Traceback" not in message
    lines = message.strip().splitlines()
    assert lines[0].startswith("error: "), message
    assert all(line.startswith("  ") for line in lines[1:])  # the remedy


class Here:
    """The command in this process: where only the message matters, a process each would take long."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.chdir(path)
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        (path / "program.py").write_text(PROGRAM)
        (path / "data.jsonl").write_text('{"text": "a"}\n')
        (path / "config.toml").write_text('[lm.default]\nmodel = "openai/x"\napi_key_env = ""\n')

    def told(self, program: str = "program.py:echo", data: str = "data.jsonl", *more: str) -> str:
        command = ["repertory", "run", program, data, "--config", "config.toml", *more]
        self._monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        message = self._capsys.readouterr().err
        assert ended.value.code == 2, message
        check_form(message)
        return message


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, monkeypatch, capsys)


PROGRAMS = [
    ("nowhere.py:echo", "nowhere.py: no such file", "relative to where you are"),
    ("program.py:nope", "program.py has no 'nope'", "It has: echo, count."),
    ("program.py", "'program.py' is not the address of a program", "path.py:name"),
    (":echo", "is not the address", "path.py:name"),
    ("no_such_package.x:echo", "there is no module 'no_such_package.x'", "install the package"),
    ("broken.py:echo", "SyntaxError: '(' was never closed (broken.py, line 2)", ""),
    ("raising.py:echo", "raising.py: ZeroDivisionError: division by zero", ""),
    ("importing.py:echo", "No module named 'not_installed'", ""),
    ("badsig.py:echo", "outpt", ""),
    ("values.py:number", "values.py:number is a int, not a program", "Name a Module"),
    ("values.py:fails", "values.py:fails failed when called: KeyError: 'x'", ""),
    ("values.py:needs", "values.py:needs failed when called: TypeError", ""),
    ("values.py:Empty", "Empty has no forward", "async def forward"),
    ("values.py:Bare", "Bare holds no predictor", "in __init__"),
    ("values.py:other_lm", "wants the language model 'big'", "[lm.big]"),
]

FILES = {
    "broken.py": "import repertory\necho = repertory.Predict(\n",
    "raising.py": "1 / 0\n",
    "importing.py": "import not_installed\n",
    "badsig.py": "import repertory\necho = repertory.Predict('text -> answer: outpt')\n",
    "values.py": (
        "import repertory as rp\n"
        "number = 3\n"
        "def fails():\n    return {}['x']\n"
        "def needs(x):\n    return x\n"
        "class Empty(rp.Module):\n    def __init__(self):\n        self.a = rp.Predict('a -> b')\n"
        "class Bare(rp.Module):\n    async def forward(self, text: str): ...\n"
        "other_lm = rp.Predict('text -> answer', lm='big')\n"
    ),
}


@pytest.mark.parametrize(("program", "what", "remedy"), PROGRAMS)
def test_programs(here: Here, program: str, what: str, remedy: str) -> None:
    for name, text in FILES.items():
        (here.path / name).write_text(text)
    message = here.told(program)
    assert what in message
    assert remedy in message


@pytest.mark.parametrize(
    ("data", "what", "remedy"),
    [
        ("nowhere.jsonl", "nowhere.jsonl: no such file", "- is standard input"),
        ("directory.jsonl", "directory.jsonl: cannot be read: Is a directory", "readable file"),
        ("data.txt", "data.txt: its name does not tell the format", "--format"),
        ("below.jsonl/data.jsonl", "cannot be read: Not a directory", "readable file"),
        ("unreadable.jsonl", "unreadable.jsonl: cannot be read: Input/output error", "readable file"),
        ("loop.jsonl", "cannot be read: Too many levels of symbolic links", "readable file"),
    ],
)
def test_data(here: Here, data: str, what: str, remedy: str) -> None:
    (here.path / "directory.jsonl").mkdir()
    (here.path / "below.jsonl").touch()
    (here.path / "unreadable.jsonl").symlink_to("/proc/self/mem")  # not even root can read its first page
    (here.path / "loop.jsonl").symlink_to("loop.jsonl")
    message = here.told("program.py:echo", data)
    assert what in message
    assert remedy in message
    assert not (here.path / "out").exists()


@pytest.mark.parametrize("out", ["data.jsonl", "data.jsonl/out", "/proc/out"])
async def test_an_output_that_cannot_be_written(place: Workplace, out: str) -> None:
    message = await told(place, *place.arguments("--out", out))
    assert f"{out}: cannot be written: " in message
    assert "writable directory with --out" in message


async def test_results_that_cannot_be_written(place: Workplace) -> None:
    (place.out / "results.jsonl").mkdir(parents=True)
    assert "out: cannot be written: Is a directory" in await told(place, *place.arguments())


async def test_an_output_in_use(place: Workplace) -> None:
    place.out.mkdir()
    with (place.out / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = await told(place, *place.arguments())
    assert "out: another run is writing there" in message
    assert "choose another --out" in message


CONFIGS = [
    ("x =", "is not TOML", ""),
    ("servr.port = 1", "config.toml: servr is not a known setting", ""),
    ("[server]\nport = 80.5", "config.toml: server.port = 80.5", "integer"),
    ('[lm.default]\nmodel = "x"\nlimits.concurrency = "5/s"', "limits.concurrency = '5/s'", "concurrency = 5"),
    ('[lm.default]\nmodl = "x"', "lm.default.mod", ""),
    ('lm = "openai/x"', "config.toml: lm = 'openai/x'", "dictionary"),
    ('[lm.default]\nmodel = "vertex/x"', "unknown provider 'vertex'", "PROVIDER/NAME with one of: openai,"),
    ('[lm.default]\nmodel = "openai"', "names no model", "openai/NAME"),
    ('[lm.default]\nmodel = "local/nowhere.gguf"', "nowhere.gguf': no such file", "GGUF file"),
    ('[lm.default]\nmodel = "openai/x"', "variable OPENAI_API_KEY is not set", "export OPENAI_API_KEY"),
    ('[lm.default]\nmodel = "openai/x"\napi_key_env = ""\nbase_url = "ftp://x"', "expected http(s)://", ""),
]


@pytest.mark.parametrize(("text", "what", "remedy"), CONFIGS)
def test_configurations(here: Here, text: str, what: str, remedy: str) -> None:
    (here.path / "config.toml").write_text(text)
    message = here.told()
    assert what in message
    assert remedy in message


@pytest.mark.parametrize(("config", "what"), [("nowhere.toml", "no such file"), (".", "is a directory")])
async def test_configurations_that_are_not_there(place: Workplace, config: str, what: str) -> None:
    assert f"{config}: {what}" in await told(place, "run", "program.py:echo", "data.jsonl", "--config", config)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("REPERTORY_SERVER__PORT", "many", "REPERTORY_SERVER__PORT: server.port = 'many'"),
        ("REPERTORY_LM", "openai/x", 'error parsing value for field "lm"'),
    ],
)
async def test_the_environment(place: Workplace, name: str, value: str, what: str) -> None:
    place.environment[name] = value
    assert what in await told(place, *place.arguments())


async def test_a_failed_start_leaves_the_results_of_before(place: Workplace) -> None:
    place.out.mkdir()
    (place.out / "results.jsonl").write_text("{}\n")
    (place.out / "summary.json").write_text("{}")
    for wrong in (["--config", "nowhere.toml"], ["--lm", "openai/x"], ["--expect", "answer", "--lm", "vertex/x"]):
        await told(place, "run", "program.py:echo", "data.jsonl", *wrong)
    assert (place.out / "results.jsonl").read_text() == "{}\n"
    assert (place.out / "summary.json").exists()


async def test_arguments_that_do_not_exist(place: Workplace) -> None:
    for arguments in (["run", "program.py:echo"], ["rum"], ["run", "a:b", "c", "--worker", "2"]):
        ended = await place.call(*arguments)
        assert (ended.status, "Traceback" in ended.stderr) == (2, False)
    for option in (["--workers", "0"], ["--limit", "x"], ["--timeout", "0"], ["--timeout", "inf"]):
        ended = await place.call(*place.arguments(*option))
        assert (ended.status, option[0] in ended.stderr + ended.stdout) == (2, True)


async def test_debug_shows_the_traceback(place: Workplace) -> None:
    (place.path / "raising.py").write_text("1 / 0\n")
    ended = await place.run("--debug", program="raising.py:echo")
    assert ended.status != 0
    assert "Traceback (most recent call last)" in ended.stderr
    assert "ZeroDivisionError: division by zero" in ended.stderr


async def test_an_expected_output_that_the_program_does_not_give(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows([{"text": "a", "topic": "x"}])
        message = await told(place, *place.arguments("--expect", "topic"))
    assert "the program gives no output 'topic'" in message
    assert "It gives: answer." in message


async def test_two_runs_at_once(tmp_path: Path) -> None:
    async with workplace(tmp_path, lambda _: Hang()) as place:
        place.write_rows([{"text": "a"}])
        first = await place.start(*place.arguments())
        await place.server.arrived.acquire()
        assert "another run is writing there" in await told(place, *place.arguments())
        first.kill()
        await first.communicate()


async def test_a_full_disk(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows([{"text": "a"}])
        place.out.mkdir()
        (place.out / "results.jsonl").symlink_to("/dev/full")
        ended = await place.call(*place.arguments())
        assert ended.status == 1, ended
        assert "out: cannot be written: No space left on device" in ended.stderr
        assert "Free some space; the same command then goes on" in ended.stderr
        assert "Traceback" not in ended.stderr


async def test_help_shows_examples_and_the_exit_status(place: Workplace) -> None:
    for arguments in (["--help"], ["run", "--help"]):
        ended = await place.call(*arguments)
        assert ended.status == 0
        assert "repertory run examples/news.py:classify" in ended.stdout
    text = " ".join(ended.stdout.split())
    for said in ("Exit status:", "0 all answered", "3 some rows rejected", "4 some rows unanswered", "130", "143"):
        assert said in text
    assert (await place.call("--version")).stdout.strip() == "0.1.0"
