"""`selftune version`."""

from importlib.metadata import version as installed_version

from selftune.cli.console import out


def version() -> None:
    """Print the version."""
    out.print(installed_version("selftune"))
