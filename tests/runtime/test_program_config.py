"""How programs of a configuration are run: what it says reaches the modules, and what cannot be is refused."""

import tomllib
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import ConfigError, ProgramError
from repertory.modules.options import ModuleOptions
from repertory.runtime.config import make_config
from repertory.runtime.program_config import ProgramConfig, options_of_modules
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM

PATHS = ", ".join(["self", "judges[0]", "judges[1]", "spare"])


class Panel(rp.Module):
    def __init__(self) -> None:
        self.judges = [rp.Predict("text -> label"), rp.Predict("text -> label").supervised(retries=4)]
        self.spare = rp.Predict("text -> label")

    async def forward(self, text: str) -> rp.Prediction:
        return await self.judges[0](text=text)


def configured(text: str) -> ProgramConfig:
    return make_config("c.toml", tomllib.loads(f'[programs.p]\nsource = "p.py:p"\n{text}')).programs["p"]


def test_what_is_not_said_is_as_in_code() -> None:
    config = configured("")
    assert (config.on_failure, config.uncertain, config.changed) == (None, "rebuy", "refuse")
    assert options_of_modules("p", config, Panel()) == {}


def test_what_is_said_of_a_module_is_told_by_its_path() -> None:
    config = configured(
        'on_failure = "threshold(2)"\nuncertain = "hold"\nchanged = "continue"\n'
        '[programs.p.modules."judges[0]"]\ntimeout = 5\nretries = 2\nfallback = "spare"\n'
        "[programs.p.modules.spare]\nreplicas = 3\nconcurrency = 4\nrestart = 'transient'\n"
    )
    assert (config.on_failure, config.uncertain, config.changed) == ("threshold(2)", "hold", "continue")
    program = Panel()
    assert options_of_modules("p", config, program) == {
        "judges[0]": ModuleOptions(timeout=5, retries=2, fallback=program.spare),
        "spare": ModuleOptions(replicas=3, concurrency=4, restart="transient"),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('on_failure = "lenient"', "c.toml: programs.p.on_failure = 'lenient'"),
        ('uncertain = "maybe"', "c.toml: programs.p.uncertain = 'maybe'"),
        ('changed = "yes"', "c.toml: programs.p.changed = 'yes'"),
        ("modules.spare.timeout = 0", "c.toml: programs.p.modules.spare.timeout = 0"),
        ("modules.spare.retries = -1", "c.toml: programs.p.modules.spare.retries = -1"),
        ("modules.spare.replicas = 0", "c.toml: programs.p.modules.spare.replicas = 0"),
        ("modules.spare.tries = 2", "c.toml: programs.p.modules.spare.tries is not a known setting"),
        ("modules.spare.restart = 'never'", "c.toml: programs.p.modules.spare.restart = 'never'"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_remedy(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(text)
    assert caught.value.message == told
    assert caught.value.hint


def test_an_unknown_failure_policy_is_told_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        configured('on_failure = "lenient"')
    assert '"threshold(3)"' in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modules.judge.retries = 1", """programs.p.modules."judge": the program has no module at this path"""),
        (
            'modules.spare.fallback = "judge"',
            """programs.p.modules."spare".fallback = 'judge': the program has no module at this path""",
        ),
    ],
)
def test_a_path_to_no_module_is_told_those_there_are(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options_of_modules("p", configured(text), Panel())
    assert (caught.value.message, caught.value.hint) == (told, f"It has: {PATHS}.")


@pytest.mark.parametrize(
    "fallbacks",
    [
        {"spare": "spare"},
        {"spare": "self"},
        {"spare": "judges[0]", "judges[0]": "judges[1]", "judges[1]": "spare"},
    ],
    ids=["itself", "what holds it", "a ring"],
)
async def test_a_fallback_that_leads_back_is_refused(tmp_path: Path, fallbacks: dict[str, str]) -> None:
    settings = "".join(f'[programs.p.modules."{at}"]\nfallback = "{to}"\n' for at, to in fallbacks.items())
    program = Panel()
    modules = options_of_modules("p", configured(settings), program)
    async with Runtime(lm=ScriptedLM([]), store=None) as runtime:
        with pytest.raises(ProgramError, match="its fallback leads back to it"):
            await runtime.start(program, name="p", modules=modules)
        assert not runtime.deployments


async def test_fallbacks_that_come_to_an_end_are_taken() -> None:
    program = Panel()
    settings = 'modules."judges[0]".fallback = "judges[1]"\nmodules."judges[1]".fallback = "spare"'
    modules = options_of_modules("p", configured(settings), program)
    lm = ScriptedLM(["no", "no", '{"label": "a"}'])
    async with Runtime(lm=lm, store=None) as runtime:
        deployment = await runtime.start(program, name="p", modules=modules)
        assert set(deployment.parameters()) == {"judges[0]", "judges[1]", "spare"}
