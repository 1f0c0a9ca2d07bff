"""What became of each question: one line of a file, and all lines of a model as columns.

A file of 100,000 results is read line by line; statistics are made of the columns.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from selftune.core.records import Record, Usage
from selftune.evaluate.scorer import Graded
from selftune.models.answers import Timing
from selftune.models.messages import calls_text

if TYPE_CHECKING:  # a run of an eval starts without it
    import numpy as np

State = Literal["scored", "errored", "skipped", "unanswered"]
"""`errored`: there is an answer, and a grader could not judge it. `unanswered`: no answer came.
Neither is a wrong answer."""
STATES: tuple[State, ...] = get_args(State)
_UNKNOWN = -1


class Result(Record):
    """One answer of one model to one item, with its scores."""

    index: int
    """The item's number, from 1."""
    item: str
    """The item's id, which other rounds share."""
    arm: str
    """Which of the round's models answered."""
    sample: int = 0
    """Which of several answers to the same question, from 0."""
    state: State
    output: str = ""
    message: dict[str, Any] = Field(default_factory=dict)
    """The assistant's whole message where it is more than text: tool calls."""
    logprobs: dict[str, Any] | None = None
    """Of its tokens, where they were asked for and given."""
    finish: str = ""
    """`answered`, `refused`, `cut`, `malformed`, `rejected`, `failed`; `given` where the data has the
    answer."""
    reason: str = ""
    """Why there is no answer."""
    model: str = ""
    """The snapshot that answered, as the endpoint names it."""
    scores: tuple[Graded, ...] = ()
    """One for each grader, in their order; empty without an answer."""
    usage: Usage | None = None
    """None is unknown."""
    timing: Timing | None = None
    attempts: int = 1
    reused: bool = False
    """The answer is from an earlier run of the same eval, not asked for again."""

    @property
    def said(self) -> str:
        """Return the answer as one text: what was said, then each call on a line of its own."""
        return "\n".join(text for text in (self.output, calls_text(self.message)) if text)

    @property
    def passed(self) -> bool:
        """Return whether every grader passed it."""
        return self.state == "scored" and all(score.passed for score in self.scores)

    @property
    def value(self) -> float | None:
        """Return the mean score, or None when it could not be scored."""
        values = [score.value for score in self.scores if score.value is not None]
        return sum(values) / len(values) if values and self.state == "scored" else None

    @property
    def credit(self) -> float | None:
        """Return what the answer is worth, from 0 to 1; None when it could not be scored."""
        credits = [score.value if score.credit is None else score.credit for score in self.scores]
        known = [credit for credit in credits if credit is not None]
        return sum(known) / len(known) if known and self.state == "scored" else None


@dataclass(frozen=True)
class Outcomes:
    """All results of one arm, as columns of one length, ordered by item, then sample."""

    arm: str
    index: "np.ndarray"
    """The item's number, int32."""
    sample: "np.ndarray"
    """int32."""
    state: "np.ndarray"
    """Position in `STATES`, int8."""
    passed: "np.ndarray"
    """bool; False where there is no score."""
    value: "np.ndarray"
    """float64; nan where there is no score."""
    credit: "np.ndarray"
    """float64; nan where there is no score."""
    prompt_tokens: "np.ndarray"
    """int32; -1 is unknown."""
    completion_tokens: "np.ndarray"
    """int32; -1 is unknown."""
    cached_tokens: "np.ndarray"
    """int32; -1 is unknown."""
    seconds: "np.ndarray"
    """float64, of the attempt that was answered; nan is unknown."""
    first_token_seconds: "np.ndarray"
    """float64; nan is unknown."""

    @property
    def is_scored(self) -> "np.ndarray":
        """Return which rows have a score."""
        scored: np.ndarray = self.state == STATES.index("scored")
        return scored


def read_results(path: Path) -> Iterator[Result]:
    """Yield the lines of a file of results; a last line that was cut is no line."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield Result.model_validate_json(line)


def outcomes(results: Iterable[Result], arms: Sequence[str]) -> dict[str, Outcomes]:
    """Return the columns of each arm; the results may come in any order."""
    columns = {arm: _Columns() for arm in arms}
    for result in results:
        columns[result.arm].add(result)
    return {arm: found.done(arm) for arm, found in columns.items()}


class _Columns:
    """Columns that grow, 58 bytes a result."""

    def __init__(self) -> None:
        self._whole = [array("i") for _ in range(5)]
        self._real = [array("d") for _ in range(4)]
        self._state, self._passed = array("b"), array("b")

    def add(self, result: Result) -> None:
        used, timing = result.usage, result.timing
        tokens = (_UNKNOWN,) * 3
        if used is not None:
            tokens = (used.prompt_tokens, used.completion_tokens, used.cached_tokens)
        for column, whole in zip(self._whole, (result.index, result.sample, *tokens), strict=True):
            column.append(whole)
        seconds = (None, None) if timing is None else (timing.answering, timing.first_token)
        values = (result.value, result.credit, *seconds)
        for measured, real in zip(self._real, values, strict=True):
            measured.append(float("nan") if real is None else real)
        self._state.append(STATES.index(result.state))
        self._passed.append(result.passed)

    def done(self, arm: str) -> Outcomes:
        import numpy as np

        whole = [np.frombuffer(column, np.int32) for column in self._whole]
        real = [np.frombuffer(column, np.float64) for column in self._real]
        order = np.lexsort((whole[1], whole[0]))
        return Outcomes(
            arm=arm,
            index=whole[0][order],
            sample=whole[1][order],
            state=np.frombuffer(self._state, np.int8)[order],
            passed=np.frombuffer(self._passed, np.int8)[order].astype(bool),
            value=real[0][order],
            credit=real[1][order],
            prompt_tokens=whole[2][order],
            completion_tokens=whole[3][order],
            cached_tokens=whole[4][order],
            seconds=real[2][order],
            first_token_seconds=real[3][order],
        )
