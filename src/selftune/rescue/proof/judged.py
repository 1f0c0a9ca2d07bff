"""Have a judge say of every first answer whether it is as good as the recorded one.

It is a round of its own, so it goes on where it was ended, and pays for no answer twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from selftune.core.runfile import EvaluationSection
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.items import Item
from selftune.evaluate.results import read_results
from selftune.evaluate.scorer import Graded
from selftune.prove.home import Home
from selftune.prove.plan import Plan
from selftune.prove.round import run_round
from selftune.rescue.record.recordings import eval_name

_RUBRIC = (
    "The answer must serve whoever asked as well as this answer of another model does, which is the "
    "reference: same facts, same decision, same manner. Other words are no fault.\n\nReference:\n"
    "{{ item.recorded }}"
)


def judge(
    home: Home,
    model: str,
    judging: str,
    items: Sequence[Item],
    said: Mapping[str, Mapping[str, Sequence[str]]],
    limits: Limits,
) -> dict[str, list[Graded]]:
    """Return what a model that judges says of each arm's first answers.

    Raises:
        BudgetSpent: before all was judged; what was is kept.
        SelftuneError: the judge does not answer.

    """
    asked: list[Item] = []
    whose: list[str] = []
    for arm, answers in said.items():
        for item in items:
            texts = answers.get(item.id)
            if texts:
                given = {"output_text": texts[0]}
                name = f"{item.id} {arm}"
                at = len(asked) + 1
                asked.append(
                    item.model_copy(
                        update={"index": at, "id": name, "given": given, "messages": ()}
                    )
                )
                whose.append(arm)
    grader: dict[str, Any] = {
        "type": "judge",
        "name": "as good as recorded",
        "model": judging,
        "question": "{{ item.input_text }}",
        "rubric": _RUBRIC,
    }
    plan = Plan(
        name=f"{eval_name(model)} judged",
        items=asked,
        arms=(),
        evaluation=EvaluationSection(graders=(grader,), seed=None),
        limits=limits,
    )
    folder = run_round(home, plan)
    found: dict[str, list[Graded]] = {arm: [] for arm in said}
    for result in read_results(folder.results):
        found[whose[result.index - 1]] += result.scores
    return found
