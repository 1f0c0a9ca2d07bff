"""What an account at a provider may do, found out by asking; nothing is made and nothing is spent."""

from typing import TYPE_CHECKING, Any

from selftune.core.records import Record
from selftune.models.listed import end_of, is_tuned
from selftune.models.profiles import Profile, open_client
from selftune.models.refusals import is_end_of_training, meaning, told

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_NO_FILE = "file-000000000000000000000000"
_NO_SUCH = (400, 404, 422)


class Permitted(Record):
    """What an account may do."""

    profile: str
    address: str
    models: int
    tuned: int
    """Of the models."""
    shutdowns: dict[str, int]
    """Models by the day on which they are shut down, where the provider says it."""
    may: dict[str, str]
    """`yes`, or the provider's reason, of: list files, list jobs, list evals; and of creating jobs,
    where that was asked for."""


async def permitted(profile: Profile, *, training: bool, model: str | None) -> Permitted:
    """Ask a provider for its models and lists; with `training`, whether it would create a job.

    That is asked with a file that is not there: who trains says so, who does not says that.

    Raises:
        SelftuneError: it does not list its models: there is no key, or it is no such provider.

    """
    async with open_client(profile) as client:
        with told(profile):
            found = [item.to_dict(mode="json") async for item in client.models.list()]
        may = {
            "list files": await _may(profile, client.files.list(limit=1)),
            "list jobs": await _may(profile, client.fine_tuning.jobs.list(limit=1)),
            "list evals": await _may(profile, client.evals.list(limit=1)),
        }
        if training:
            base = model or _trainable(found)
            may["create jobs"] = await _may_train(client, profile, base)
    days = sorted(str(day) for each in found if (day := end_of(each)) is not None)
    return Permitted(
        profile=profile.name,
        address=profile.address,
        models=len(found),
        tuned=sum(is_tuned(str(each["id"])) for each in found),
        shutdowns={day: days.count(day) for day in dict.fromkeys(days)},
        may=may,
    )


async def _may(profile: Profile, asked: Any) -> str:
    from openai import APIError

    try:
        await asked
    except APIError as error:
        return meaning(profile, error).message
    return "yes"


def _trainable(found: list[dict[str, Any]]) -> str:
    """Return a model to name: one of OpenAI's that can be tuned where it is listed, else the first."""
    names = [str(each["id"]) for each in found if not is_tuned(str(each["id"]))]
    known = [name for name in names if name.startswith(("gpt-4.1-mini-", "gpt-4o-mini-2024"))]
    return (known or names or ["gpt-4.1-mini-2025-04-14"])[0]


async def _may_train(client: "AsyncOpenAI", profile: Profile, model: str) -> str:
    from openai import APIError, APIStatusError

    once = client.with_options(max_retries=0)
    try:
        job = await once.fine_tuning.jobs.create(model=model, training_file=_NO_FILE)
    except APIStatusError as error:
        said = meaning(profile, error).message
        if is_end_of_training(error.status_code, error.code, str(error.message)):
            return said
        about_file = error.status_code in _NO_SUCH and "file" in str(error.message).lower()
        return "yes" if about_file else f"not known: {said}"
    except APIError as error:
        return f"not known: {meaning(profile, error).message}"
    await client.fine_tuning.jobs.cancel(job.id)  # it does not look at files before
    return "yes"
