"""A grader's model at any endpoint that speaks OpenAI's API.

One question at a time, with its retries: for trying graders, and for runs of a few hundred answers.
"""

from selftune.evaluate.asked import asked_of, reply_of
from selftune.evaluate.means import Ask, Asked, Reply
from selftune.models.asking import Limits, ask_all
from selftune.models.endpoint import Endpoint


def asker(endpoint: Endpoint, limits: Limits | None = None) -> Ask:
    """Return what asks an endpoint; the grader names the model, the endpoint's own is not used."""

    def ask(asked: Asked) -> Reply:
        place = endpoint.model_copy(update={"model": asked.model})
        [answer] = ask_all(place, [asked_of(asked, place)], limits)
        return reply_of(asked, answer)

    return ask
