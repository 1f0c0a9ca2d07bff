"""A grader's model at any endpoint that speaks OpenAI's API.

One question at a time, with its retries: for trying graders, and for runs of a few hundred answers.
"""

from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.records import Usage
from selftune.evaluate.means import Ask, Asked, Reply
from selftune.models.answers import Answer, question
from selftune.models.asking import Limits, ask_all
from selftune.models.endpoint import Endpoint

_NOTHING_KNOWN = Usage(prompt_tokens=0, completion_tokens=0)


def asker(endpoint: Endpoint, limits: Limits | None = None) -> Ask:
    """Return what asks an endpoint; the grader names the model, the endpoint's own is not used."""

    def ask(asked: Asked) -> Reply:
        shape = {"name": "grade", "strict": True, "schema": asked.answer_schema}
        body = {
            "model": asked.model,
            "messages": list(asked.messages),
            "response_format": {"type": "json_schema", "json_schema": shape},
            **asked.sampling,
        }
        place = endpoint.model_copy(update={"model": asked.model})
        [answer] = ask_all(place, [question(body)], limits)
        return _reply(asked, answer)

    return ask


def _reply(asked: Asked, answer: Answer) -> Reply:
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
