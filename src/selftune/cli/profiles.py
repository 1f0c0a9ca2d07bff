"""`selftune profiles`: accounts at providers with OpenAI's API."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.console import out, show_json, show_table
from selftune.cli.grouping import grouped
from selftune.core.settings import load_settings

if TYPE_CHECKING:
    from selftune.models.profiles import Profile

app = typer.Typer(help="Accounts at providers.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The profile's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Given:
    """What is said of a profile."""

    kind: Annotated[
        str | None, typer.Option(help="openai, azure, or compatible.", metavar="KIND")
    ] = None
    base_url: Annotated[
        str | None,
        typer.Option(help="Its address; of Azure the resource's, https://NAME.openai.azure.com."),
    ] = None
    api_key_variable: Annotated[
        str | None,
        typer.Option(help="Name of the environment variable that holds the key, not the key."),
    ] = None
    api_version: Annotated[
        str | None, typer.Option(help="Of Azure's dated API; absent, its API v1.")
    ] = None
    organization: Annotated[str | None, typer.Option(help="Organisation to act for.")] = None
    project: Annotated[str | None, typer.Option(help="Project to act in.")] = None
    requests_per_minute: Annotated[
        int | None, typer.Option(help="Most requests that are sent to it in a minute.")
    ] = None


@app.command("list")
def listing(json: Json = False) -> None:
    """List profiles, and whether there is a key for each."""
    from selftune.models.profiles import load_profiles

    found = load_profiles(load_settings().root)
    if json:
        return show_json(
            [
                {
                    **profile.model_dump(mode="json"),
                    "address": profile.address,
                    "key": _key(profile),
                }
                for profile in found
            ]
        )
    return show_table(
        ("name", "kind", "address", "key"),
        [(profile.name, profile.kind, profile.address, _key(profile)) for profile in found],
    )


@app.command("add")
@grouped
def add(name: Name, given: Given) -> None:
    """Add a profile, or change one; what is not given stays as it is."""
    from selftune.models.own_profiles import add_profile

    profile = add_profile(load_settings().root, name, asdict(given))
    _show_way(profile)


@app.command("check")
def check(
    name: Name,
    training: Annotated[
        bool,
        typer.Option(
            "--training", help="Ask whether it would create a job, naming a file that is not there."
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Base to name then; absent, one that it lists.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask a provider what the account may do."""
    from selftune.models.asking import run_loop
    from selftune.models.permitted import permitted
    from selftune.models.profiles import find_profile

    profile = find_profile(load_settings().root, name)
    found = run_loop(permitted(profile, training=training, model=model))
    if json:
        return show_json(found.model_dump(mode="json"))
    _show_way(profile)
    out.print(f"models: {found.models:,}, of them {found.tuned:,} tuned")
    for day, count in found.shutdowns.items():
        out.print(f"  {count:,} shut down on {day}", markup=False)
    for what, answer in found.may.items():
        out.print(f"may {what}: {answer}", markup=False, soft_wrap=True)
    if not training:
        out.print("may create jobs: not asked (--training asks)")
    return None


def _show_way(profile: "Profile") -> None:
    from selftune.models.profiles import is_readable

    out.print(f"{profile.name}: {profile.address}", markup=False, soft_wrap=True)
    out.print(f"key: {_key(profile)}", markup=False, soft_wrap=True)
    if is_readable(profile):
        out.print("note: http:// lets everybody on the way read the key and all rows")


def _key(profile: "Profile") -> str:
    """Return in words where the key comes from; never the key."""
    from selftune.core.errors import InvalidInput
    from selftune.core.settings import read_variable
    from selftune.models.profiles import is_openai, read_key

    variable = profile.key_variable
    try:
        key = read_key(profile)
    except InvalidInput as error:
        return error.message
    if variable and read_variable(variable):
        return f"in {variable}"
    if key is not None:
        return "in the keyring"
    needed = profile.kind == "azure" or profile.api_key_variable or is_openai(profile)
    return f"missing: {variable} is not set" if needed else "none"
