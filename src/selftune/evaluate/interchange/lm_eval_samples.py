"""One logged sample of lm-eval, and its metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.found import Row, name_of, rows_in
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.questions import plain_messages
from selftune.evaluate.interchange.scores import score_of
from selftune.evaluate.interchange.untrusted import parse_json
from selftune.evaluate.scorer import Graded

_OWN = frozenset(
    ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics")
)
_HASHES = ("doc_hash", "prompt_hash", "target_hash")


@dataclass(frozen=True)
class Answered:
    """One answer, with the scores of every filter."""

    fields: Row
    asked: tuple[Row, ...] | None
    """None where likelihoods were compared."""
    is_chat: bool
    target: Any
    output: str
    scores: dict[str, Graded]
    """By `metric,filter`, as lm-eval's totals name them."""
    place: str

    def joined(self, other: "Answered") -> "Answered":
        """Return the same answer with the scores of another filter too."""
        return replace(self, scores={**self.scores, **other.scores})


def answered_of(row: Row, place: str) -> Answered:
    """Return what a line says."""
    asked, is_chat = _asked(row.get("arguments"))
    name = str(row.get("filter") or "none")
    listed = row.get("metrics")
    metrics = listed if isinstance(listed, list) else row.keys() - _OWN - set(_HASHES)
    return Answered(
        fields=row["doc"],
        asked=asked,
        is_chat=is_chat,
        target=row.get("target"),
        output=_said(row.get("resps") if asked is not None else row.get("filtered_resps")),
        scores={f"{m},{name}": score_of(row.get(str(m))) for m in sorted(map(str, metrics))},
        place=place,
    )


def metrics_of(answers: Sequence[Answered], higher: Row, gaps: Gaps) -> list[str]:
    """Return the metrics that judge single answers, more being better; others are gaps."""
    found = []
    for name in dict.fromkeys(name for answer in answers for name in answer.scores):
        metric = name.partition(",")[0]
        known = [answer.scores[name] for answer in answers if name in answer.scores]
        if all(score.value is None for score in known):
            gaps.part(f"metric {name_of(name, 'metric')!r} has no number for single samples")
        elif higher.get(metric) is False:
            gaps.part(f"metric {name_of(name, 'metric')!r}: less is better, which is no grade")
        else:
            found.append(name)
    if not found:
        raise InvalidInput("No metric of the samples judges single answers.")
    return found


def _asked(arguments: Any) -> tuple[tuple[Row, ...] | None, bool]:
    """Return the prompt of a sample, and whether it was a chat.

    Arguments are a list of pairs, or an object of objects, by the version. Where there are several,
    the sample is a choice between given answers; where there is one and no options, the
    likelihood of a text.
    """
    first = arguments
    if isinstance(arguments, dict):
        pairs = [each for each in arguments.values() if isinstance(each, dict)]
        first = [[each.get("arg_0"), each.get("arg_1")] for each in pairs]
    if not isinstance(first, list) or len(first) != 1 or not isinstance(first[0], list):
        return None, False
    prompt, options = (*first[0], None, None)[:2]
    if not isinstance(options, dict):
        return None, False
    try:
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
            prompt = prompt[0]
        if isinstance(prompt, str) and prompt.lstrip().startswith("[{"):
            chat = parse_json(prompt, "prompt")
            if rows_in(chat) and "role" in chat[0]:
                return plain_messages(chat), True
        return plain_messages(prompt), not isinstance(prompt, str)
    except InvalidInput:
        return (plain_messages(prompt), False) if isinstance(prompt, str) else (None, False)


def _said(responses: Any) -> str:
    value = responses
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else "" if value == [] else str(value)
