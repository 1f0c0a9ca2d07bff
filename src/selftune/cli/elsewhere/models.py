"""`selftune models … --profile NAME`."""

from typing import TYPE_CHECKING, Any

from selftune.cli.console import out, show_json, show_table
from selftune.cli.elsewhere.asking import as_written, ask, first, when

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def listing(name: str, *, json: bool) -> None:
    """List models: what was trained first, then by the day on which they are shut down."""

    async def question(client: "AsyncOpenAI") -> list[Any]:
        return await first(client.models.list())

    found = ask(name, question)
    if json:
        return show_json(found)
    from selftune.models.listed import end_of

    found.sort(key=_order)
    columns = ("name", "owned by", "shut down", "created")
    return show_table(
        columns,
        [
            (
                model["id"],
                model.get("owned_by") or "",
                end_of(model) or "",
                when(model.get("created", model.get("created_at"))),
            )
            for model in found
        ],
    )


def show(name: str, model: str) -> None:
    """Show one model."""

    async def question(client: "AsyncOpenAI") -> Any:
        return as_written(await client.models.retrieve(model))

    show_json(ask(name, question))


def delete(name: str, model: str) -> None:
    """Delete a model."""

    async def question(client: "AsyncOpenAI") -> str:
        return (await client.models.delete(model)).id

    out.print(f"deleted {ask(name, question)}", markup=False)


def _order(model: dict[str, Any]) -> tuple[bool, str, str]:
    from selftune.models.listed import end_of, is_tuned

    name = str(model["id"])
    return not is_tuned(name), str(end_of(model) or "9999"), name
