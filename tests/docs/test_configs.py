"""The configurations in configs/ are ones that a runtime starts with, and every setting is documented."""

from pathlib import Path

import pytest

from repertory import Runtime, load_config
from repertory.runtime import lm_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


@pytest.mark.local_model
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
async def test_a_runtime_starts_with_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(variable, "sk-test")
    config = load_config(path)
    async with Runtime(config, store=tmp_path / "store.db") as runtime:
        assert [each.name for each in runtime.endpoints()] == list(config.lm)
        for name, budget in config.budgets.items():
            limit = (await runtime.ledger.balance(name)).limit
            assert limit.nano_dollars == (None if budget.dollars is None else budget.dollars * 10**9)


def test_every_setting_of_a_language_model_is_in_its_page() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    tables = [each for each in vars(lm_config).values() if hasattr(each, "model_fields")]
    settings = {name for table in tables for name in table.model_fields}
    assert len(settings) > 40
    assert sorted(name for name in settings if f"`{name}`" not in page and f".{name}" not in page) == []
