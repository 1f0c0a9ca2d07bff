"""Which models are answered elsewhere: the file of the home folder, and what it says wrongly."""

from pathlib import Path

import pytest

from selftune.core.errors import InvalidInput
from selftune.models.endpoint import client_arguments
from selftune.models.endpoints import Endpoints, load_endpoints

FILE = """
[[endpoint]]
models = ["gpt-*", "o?-mini"]

[[endpoint]]
models = ["gpt-oss-*", "qwen3-[48]b"]
base_url = "http://127.0.0.1:8001/v1"
api_key_variable = "LOCAL_KEY"
concurrency = 16

[[endpoint]]
models = ["free"]
base_url = "http://127.0.0.1:8002/v1"
"""


def endpoints(home: Path, text: str = FILE) -> Endpoints:
    (home / "endpoints.toml").write_text(text, encoding="utf-8")
    return load_endpoints(home)


def test_without_a_file_no_model_is_elsewhere(tmp_path: Path) -> None:
    assert load_endpoints(tmp_path).find("gpt-4.1") is None


def test_the_first_pattern_that_fits_says_where(tmp_path: Path) -> None:
    found = endpoints(tmp_path).find("qwen3-8b")
    assert found is not None
    assert (found.model, found.base_url) == ("qwen3-8b", "http://127.0.0.1:8001/v1")
    assert (found.api_key_variable, found.concurrency) == ("LOCAL_KEY", 16)
    first = endpoints(tmp_path).find("gpt-oss-20b")
    assert first is not None
    assert (first.base_url, first.concurrency) == ("https://api.openai.com/v1", None)


@pytest.mark.parametrize("model", ["qwen3-14b", "GPT-4.1", "o10-mini", "selftune/minilm", ""])
def test_a_model_that_no_pattern_fits_is_not_elsewhere(tmp_path: Path, model: str) -> None:
    assert endpoints(tmp_path).find(model) is None


def test_the_key_of_openai_goes_to_openai_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    found = endpoints(tmp_path)
    openai, free = found.find("gpt-4.1"), found.find("free")
    assert openai is not None
    assert free is not None
    assert client_arguments(openai)["api_key"] == "sk-openai"
    assert client_arguments(free)["api_key"] == "none"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("endpoint = 3", "endpoint"),
        ("[[endpoint]]\nbase_url = 'http://a/v1'", r"endpoint\.0\.models"),
        ("[[endpoint]]\nmodels = []", r"endpoint\.0\.models"),
        ("[[endpoint]]\nmodels = ['a']\nbase_url = 'localhost:8000'", "http://"),
        ("[[endpoint]]\nmodels = ['a']\nbase_url = 'http://a b/'", "%XX"),
        ("[[endpoint]]\nmodels = ['a']\napi_key = 'sk-x'", r"endpoint\.0\.api_key: is not a known"),
        ("[[endpoint]]\nmodels = ['a']\nconcurrency = 0", r"endpoint\.0\.concurrency"),
        ("[[endpoint]", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as raised:
        endpoints(tmp_path, text)
    assert "endpoints.toml" in raised.value.message
    assert "sk-x" not in raised.value.message
