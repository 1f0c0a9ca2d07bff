"""`selftune chat MODEL`: ask a model here, without a server."""

from typing import Annotated

import typer

from selftune.cli.console import open_home, out


def chat(
    model: Annotated[str, typer.Argument(help="A base, an alias or an ft: model.")],
    message: Annotated[str | None, typer.Argument(help="One question; absent, a dialogue.")] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0)] = 0.0,
) -> None:
    """Ask a model."""
    from selftune.models.sampler import Prompt, Sampling, Token
    from selftune.serve.loader import load_sampler
    from selftune.serve.resolve import resolve

    store, identity = open_home()
    found = resolve(store, identity, model)
    sampler = load_sampler(store.root, found.engine, found.folder)

    def ask(text: str) -> None:
        first = [{"role": "system", "content": system}] if system else []
        messages = (*first, {"role": "user", "content": text})
        prompt = Prompt(messages=messages, sampling=Sampling(temperature=temperature))
        for piece in sampler.stream(prompt):
            if isinstance(piece, Token):
                out.print(piece.text, end="", markup=False, highlight=False, soft_wrap=True)
        out.print()

    if message is not None:
        ask(message)
        return
    out.print("[dim]Each line is asked by itself; an empty line ends.[/]")
    while text := typer.prompt("you", default="", show_default=False):
        ask(text)
