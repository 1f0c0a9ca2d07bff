"""The journal: what a run remembers when its process is gone."""

from pathlib import Path

import pytest

from selftune.core.errors import Conflict, InvalidInput
from selftune.core.records import Usage
from selftune.data.synthesis.budget import Account, Budget
from selftune.data.synthesis.journal import NAME, Journal, Tokens
from selftune.models.answers import Answer, question

PLAN = {"verb": "generate", "task": "abc"}
ASKED = question({"model": "wise", "messages": [], "max_tokens": 10})
ANSWER = Answer(key=ASKED.key, status="answered", text="yes \u2028 \U0001f600")


def test_an_answer_is_there_after_the_process_ended(tmp_path: Path) -> None:
    with Journal(tmp_path, PLAN) as journal:
        journal.intend(ASKED, Tokens(5, 10))
        journal.settle(ANSWER, Tokens(3, 4))
    with Journal(tmp_path, PLAN) as again:
        assert again.answer(ASKED.key) == ANSWER
        assert again.paid() == {"wise": Tokens(3, 4)}
        assert again.perhaps_paid() == {"wise": Tokens(0, 0)}


def test_what_was_on_its_way_counts_as_perhaps_paid(tmp_path: Path) -> None:
    with Journal(tmp_path, PLAN) as journal:
        journal.intend(ASKED, Tokens(5, 10))
    with Journal(tmp_path, PLAN) as again:
        assert again.answer(ASKED.key) is None
        assert again.perhaps_paid() == {"wise": Tokens(5, 10)}
        again.intend(ASKED, Tokens(5, 10))
        assert again.perhaps_paid() == {"wise": Tokens(10, 20)}
        again.settle(ANSWER, Tokens(3, 4))
        assert again.perhaps_paid() == {"wise": Tokens(5, 10)}


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_what_cost_nothing_may_be_asked_again(tmp_path: Path, status: str) -> None:
    with Journal(tmp_path, PLAN) as journal:
        journal.intend(ASKED, Tokens(5, 10))
        journal.settle(Answer(key=ASKED.key, status=status, unheard=2), Tokens())
        assert journal.answer(ASKED.key) is None
        assert journal.perhaps_paid() == {"wise": Tokens(10, 20)}


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, PLAN), pytest.raises(Conflict, match="Another run"):
        Journal(tmp_path, PLAN)


def test_a_folder_of_another_run_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    Journal(tmp_path, PLAN).close()
    with pytest.raises(InvalidInput, match="differs in task:"):
        Journal(tmp_path, PLAN | {"task": "xyz"})
    Journal(tmp_path, PLAN).close()  # and is as it was


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"not a database, by far " * 100)
    with pytest.raises(InvalidInput, match="no journal"):
        Journal(tmp_path, PLAN)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InvalidInput, match="cannot be written"):
        Journal(tmp_path / "file" / "folder", PLAN)


def test_answers_written_together_are_all_there_or_none(tmp_path: Path) -> None:
    with Journal(tmp_path, PLAN) as journal:
        journal.intend(ASKED, Tokens(5, 10))
        with pytest.raises(InvalidInput):
            _settle_and_fail(journal)
        assert journal.answer(ASKED.key) is None


def _settle_and_fail(journal: Journal) -> None:
    with journal.together():
        journal.settle(ANSWER, Tokens(3, 4))
        raise InvalidInput("on purpose")


def test_the_sums_of_the_account_are_those_of_the_journal(tmp_path: Path) -> None:
    budget = Budget(tokens=150, input_price=1.0, output_price=2.0)
    asked = [
        question({"model": "wise", "messages": [], "max_tokens": 10, "n": n}) for n in range(4)
    ]
    with Journal(tmp_path, PLAN) as journal:
        account = Account(journal, budget, is_batch=False)
        for one in asked:
            account.begin(one)
        account.settle(asked[0], Answer(key=asked[0].key, status="failed", unheard=1))
        account.settle(asked[1], Answer(key=asked[1].key, status="rejected"))
        usage = Usage(prompt_tokens=7, completion_tokens=3)
        account.settle(asked[2], Answer(key=asked[2].key, status="answered", usage=usage))
        tokens, dollars = account._tokens, account._dollars
        account.reload()
        assert account._tokens == tokens
        assert account._dollars == pytest.approx(dollars)
        spent = account.spent()
        assert (spent.prompt_tokens, spent.completion_tokens) == (7, 3)
        assert spent.dollars == pytest.approx(13e-6)


def test_a_budget_in_dollars_needs_a_price(tmp_path: Path) -> None:
    with Journal(tmp_path, PLAN) as journal:
        account = Account(journal, Budget(dollars=1.0), is_batch=False)
        with pytest.raises(InvalidInput, match="--input-price"):
            account.check_price("nobody-knows-it")
        account.check_price("gpt-4.1-mini")
        assert account.cost("gpt-4.1-mini", Tokens(1_000_000, 0)) == pytest.approx(0.40)
        batch = Account(journal, Budget(), is_batch=True)
        assert batch.cost("gpt-4.1-mini", Tokens(1_000_000, 0)) == pytest.approx(0.20)
