"""Every plugin of every family meets its family's contract."""

from types import ModuleType

import pytest

from selftune.core import plugins
from selftune.core.errors import MissingExtra, UnknownPlugin
from selftune.data import containers, formats
from selftune.evaluate import scorers
from selftune.models import samplers
from selftune.train import engines

FAMILIES = (containers, formats, scorers, samplers, engines)
PLUGINS = [(family, name) for family in FAMILIES for name in plugins.available(family)]


@pytest.mark.parametrize(("family", "name"), PLUGINS, ids=lambda value: str(value).split(".")[-1])
def test_plugin_has_a_docstring_strict_params_and_a_builder(family: ModuleType, name: str) -> None:
    try:
        plugin = plugins.load(family, name)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    assert plugin.__doc__
    assert plugin.Params.model_config["extra"] == "forbid"
    assert plugin.Params.model_config["frozen"]
    assert callable(plugin.build)


def test_unknown_plugin_names_the_known_ones() -> None:
    with pytest.raises(UnknownPlugin, match="string_check"):
        plugins.load(scorers, "nope")


def test_missing_dependency_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> ModuleType:
        raise ModuleNotFoundError("no", name="a_package_nobody_installed")

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(MissingExtra, match="a_package_nobody_installed"):
        plugins.load(scorers, "string_check")
