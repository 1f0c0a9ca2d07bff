"""Between graders' words and the chat API's: what a grader asks, and what an answer is to it."""

from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.records import Usage
from selftune.evaluate.arms import place_of
from selftune.evaluate.grading import sample_of
from selftune.evaluate.means import Asked, Reply
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint

_NOTHING_KNOWN = Usage(prompt_tokens=0, completion_tokens=0)


def asked_of(asked: Asked, endpoint: Endpoint | None, salt: str = "") -> Question:
    """Return a grader's question as a request."""
    body = {"model": asked.model, "messages": list(asked.messages), **asked.sampling}
    if endpoint is None:  # models of this machine promise no shape: the messages ask for it too
        body.setdefault("temperature", 0.0)
    else:
        shape = {"name": "grade", "strict": True, "schema": asked.answer_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    whole = {"body": body, "place": place_of(endpoint), "sample": 0}
    return Question(key=fingerprint(whole | {"salt": salt} if salt else whole), body=body)


def reply_of(asked: Asked, answer: Answer) -> Reply:
    """Return what a grader's model said.

    Raises:
        InvalidInput: it does not take such a question.
        Unavailable: no answer came.

    """
    if answer.status == "rejected":
        raise InvalidInput(f"The model {asked.model!r} does not take the question: {answer.reason}")
    if answer.status == "failed":
        raise Unavailable(f"The model {asked.model!r} did not answer: {answer.reason}")
    return Reply(
        text=answer.text or str(answer.message.get("refusal") or ""),
        model=answer.model or asked.model,
        usage=answer.usage or _NOTHING_KNOWN,
        is_refusal=answer.status == "refused",
        is_cut=answer.status == "cut",
    )


def sample_from(answer: Answer) -> dict[str, Any]:
    """Return what graders' templates call `sample`."""
    text = answer.text or str(answer.message.get("refusal") or "")
    sample = sample_of(text)
    calls = answer.message.get("tool_calls")
    if calls:
        message = {"role": "assistant", **answer.message}
        sample |= {"output_tools": calls, "choices": [{"message": message}]}
    return sample
