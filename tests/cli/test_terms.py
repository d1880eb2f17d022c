"""`repertory run`: who asks, who pays."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.command import workplace

BUDGETS = '[budgets."tenant:acme"]\ntokens = 1_000_000\n[budgets.spare]\ntokens = 1_000_000\n'


async def test_the_accounts_that_are_named_pay_for_the_rows(tmp_path: Path) -> None:
    async with workplace(tmp_path, settings=f"budget.max_tokens = 100\n{BUDGETS}") as place:
        place.write_rows([{"text": "a"}, {"text": "b"}])
        terms = ("--account", "tenant:acme", "--caller", "alice", "--priority", "batch")
        ended = await place.run(*terms)
        assert ended.status == 0, ended.stderr
    with closing(sqlite3.connect(place.out / "journal.db")) as journal:
        spent = dict(journal.execute("select name, tokens_spent from ledger_accounts").fetchall())
        kept = {row[0] for row in journal.execute("select terms from runs")}
    assert spent == {"tenant:acme": 2 * 18, "spare": 0}
    (said,) = kept
    assert '"caller":"alice"' in said
    assert '"priority":"batch"' in said


@pytest.mark.parametrize("account", ["nobody", "spare "])
async def test_an_account_that_has_no_budget_is_refused_before_a_row_is_asked(
    tmp_path: Path, account: str
) -> None:
    async with workplace(tmp_path, settings=BUDGETS) as place:
        place.write_rows([{"text": "a"}])
        ended = await place.run("--account", "spare", "--account", account)
        assert (ended.status, place.asked) == (2, [])
        assert f"--account {account}: the configuration has no such budget" in ended.stderr
        assert not place.out.exists()
