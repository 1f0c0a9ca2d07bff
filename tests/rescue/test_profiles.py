"""Accounts at providers: their file, their keys, the client for them, and what refusals mean."""

import asyncio
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import pytest
from tests.rescue.provider import EMPTY, Asked, Provider, provider, refusal

from selftune.core.errors import (
    AuthenticationFailed,
    InvalidInput,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    SelftuneError,
    Unavailable,
)
from selftune.core.settings import load_settings
from selftune.evaluate.arms import place_of
from selftune.evaluate.evalfile import EvalFile
from selftune.models import manners
from selftune.models.answers import Question
from selftune.models.asking import Asking, Limits
from selftune.models.endpoint import Endpoint, request_address
from selftune.models.endpoints import load_endpoints
from selftune.models.own_profiles import add_profile
from selftune.models.permitted import permitted
from selftune.models.profiles import (
    Profile,
    find_profile,
    load_profiles,
    open_client,
    read_key,
)
from selftune.models.refusals import told
from selftune.prove.home import Home
from selftune.prove.plan import plan_of

KEY = "sk-secret-0123456789"
FILE = """
[profile.acme]
kind = "azure"
base_url = "https://acme.openai.azure.com/openai/v1/"
api_key_variable = "ACME_KEY"

[profile.gpu]
base_url = "http://10.0.0.5:8000/v1/"
requests_per_minute = 600
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with provider() as made:
        yield made


@pytest.fixture
def there(running: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    running.answer = lambda asked: EMPTY
    running.asked.clear()
    monkeypatch.setenv("GPU_KEY", KEY)
    return running


def gpu(url: str, **more: Any) -> Profile:
    return Profile(name="gpu", base_url=f"{url}/v1", api_key_variable="GPU_KEY", **more)


def write(home: Path, text: str = FILE) -> Path:
    (home / "profiles.toml").write_text(text, encoding="utf-8")
    return home


def list_files(profile: Profile) -> None:
    async def question() -> None:
        async with open_client(profile, retries=0) as client:
            with told(profile):
                await client.with_options(timeout=20).files.list()

    asyncio.run(question())


def test_a_file_names_accounts_and_openai_is_always_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    assert [profile.name for profile in load_profiles(tmp_path)] == ["openai"]
    acme, gpu_there, openai = load_profiles(write(tmp_path))
    assert (acme.address, acme.key_variable) == (
        "https://acme.openai.azure.com/openai/v1",
        "ACME_KEY",
    )
    assert (gpu_there.address, gpu_there.key_variable) == ("http://10.0.0.5:8000/v1", "")
    assert (openai.address, openai.key_variable) == ("http://127.0.0.1:9/v1", "OPENAI_API_KEY")
    with pytest.raises(NotFound, match=r"knows acme, gpu, openai.*profiles add nebius"):
        find_profile(tmp_path, "nebius")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profile.a]\nkind = 'azure'", "base_url is missing"),
        ("[profile.a]\nbase_url = 'localhost'", "http://"),
        ("[profile.a]\nbase_url = 'http://me:sk-x@h/v1'", "name or password"),
        ("[profile.a]\nbase_url = 'http://h/v1?key=sk-x'", "must end with its path"),
        ("[profile.a]\nbase_url = 'http://h/v1'\napi_key = 'sk-x'", "api_key: is not a known key"),
        ("[profile.a]\nbase_url = 'http://h/v1'\napi_key_variable = 'sk-x'", "api_key_variable"),
        ("[profile.a]\nbase_url = 'http://h/v1'\napi_version = '2024'", "only of kind azure"),
        ("[profile.'a b']\nbase_url = 'http://h/v1'", "name"),
        ("profile = 3", "profile"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_without_its_secrets(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as raised:
        load_profiles(write(tmp_path, text))
    assert "profiles.toml" in raised.value.message
    assert "sk-x" not in raised.value.message


def test_adding_changes_what_is_given_and_keeps_the_rest(tmp_path: Path) -> None:
    write(tmp_path)
    add_profile(tmp_path, "gpu", {"project": "p", "base_url": None})
    assert find_profile(tmp_path, "gpu").requests_per_minute == 600
    assert find_profile(tmp_path, "gpu").project == "p"
    before = (tmp_path / "profiles.toml").read_bytes()
    with pytest.raises(InvalidInput, match="api_key_variable") as raised:
        add_profile(tmp_path, "new", {"api_key_variable": KEY, "base_url": "http://h/v1"})
    with pytest.raises(InvalidInput, match=r"^The profile 'new': The address .* https://\.$"):
        add_profile(tmp_path, "new", {"base_url": "localhost:1"})
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert (tmp_path / "profiles.toml").read_bytes() == before
    add_profile(tmp_path, "openai", {"organization": "org-1"})
    assert find_profile(tmp_path, "openai").kind == "openai"


class _Kept(keyring.backend.KeyringBackend):
    priority = 1.0

    def get_password(self, service: str, username: str) -> str | None:
        return {("selftune", "gpu"): KEY}.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        raise AssertionError("selftune keeps no keys")


def test_a_key_comes_from_its_variable_then_from_the_keyring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile = gpu("http://h")
    before = keyring.get_keyring()
    keyring.set_keyring(_Kept())  # type: ignore[no-untyped-call]
    try:
        assert read_key(profile) == KEY
        assert read_key(profile.model_copy(update={"name": "other"})) is None
        monkeypatch.setenv("GPU_KEY", "of-the-variable")
        assert read_key(profile) == "of-the-variable"
    finally:
        keyring.set_keyring(before)
    monkeypatch.setenv("GPU_KEY", "two\nlines")
    with pytest.raises(InvalidInput, match="is no API key") as raised:
        read_key(profile)
    assert "two" not in raised.value.message


def test_without_a_key_it_is_said_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InvalidInput, match=r"OPENAI_API_KEY.*keyring set selftune openai"):
        open_client(Profile(name="openai", kind="openai"))
    free = Profile(name="free", base_url="http://127.0.0.1:9/v1")
    assert open_client(free).api_key == "none"


def test_nothing_that_is_meant_for_openai_goes_to_others(
    there: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, f"mine-{name}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: mine-custom\nAuthorization: Bearer mine")
    list_files(gpu(there.url, organization="org-theirs"))
    [asked] = there.asked
    assert "mine" not in str(asked.headers)
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["openai-organization"] == "org-theirs"


def test_a_redirect_takes_the_key_nowhere(there: Provider) -> None:
    with provider() as elsewhere:
        there.answer = lambda asked: (307, {"location": f"{elsewhere.url}/v1/files"}, {})
        with pytest.raises(NotFound, match=r"says 307.*check base_url"):
            list_files(gpu(there.url))
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("version", "path", "header"),
    [
        (None, "/openai/v1/files", "authorization"),
        ("2024-10-21", "/openai/files?api-version=2024-10-21", "api-key"),
    ],
)
def test_azure_is_asked_in_its_own_form(
    there: Provider, version: str | None, path: str, header: str
) -> None:
    profile = Profile(
        name="acme",
        kind="azure",
        base_url=f"{there.url}/openai",
        api_key_variable="GPU_KEY",
        api_version=version,
    )
    list_files(profile)
    [asked] = there.asked
    assert asked.path == path
    assert asked.headers[header].endswith(KEY)
    assert {"authorization", "api-key"} & asked.headers.keys() == {header}


def test_a_chat_with_dated_azure_goes_to_its_deployment(there: Provider) -> None:
    profile = Profile(
        name="acme",
        kind="azure",
        base_url=there.url,
        api_key_variable="GPU_KEY",
        api_version="2024-10-21",
    )
    message = {"role": "assistant", "content": "yes"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    there.answer = lambda asked: (200, {}, {"object": "chat.completion", "choices": [choice]})
    endpoint = Endpoint(model="my tuned", profile=profile)

    async def answer() -> str | None:
        async with Asking(endpoint, Limits(attempts=1)) as asking:
            return (await asking.answer(Question(key="k", body={"model": "my tuned"}))).text

    assert asyncio.run(answer()) == "yes"
    path = "/openai/deployments/my%20tuned/chat/completions?api-version=2024-10-21"
    assert request_address(endpoint, "chat/completions") == there.url + path
    [asked] = there.asked
    assert (asked.path, asked.headers["api-key"]) == (path, KEY)


def test_an_endpoint_may_name_a_profile(tmp_path: Path) -> None:
    write(tmp_path)
    endpoints = tmp_path / "endpoints.toml"
    endpoints.write_text('[[endpoint]]\nmodels = ["a*"]\nprofile = "gpu"\n', encoding="utf-8")
    found = load_endpoints(tmp_path).find("abc")
    assert found is not None
    assert request_address(found, "x") == "http://10.0.0.5:8000/v1/x"
    wrong = {
        'profile = "nobody"': r"endpoint\.0\.profile: there is no profile 'nobody'",
        'profile = "gpu"\nbase_url = "http://h/v1"': "a profile has its own base_url",
    }
    for text, words in wrong.items():
        endpoints.write_text(f'[[endpoint]]\nmodels = ["a"]\n{text}\n', encoding="utf-8")
        with pytest.raises(InvalidInput, match=words):
            load_endpoints(tmp_path)


def test_a_model_of_an_eval_file_may_name_a_profile(tmp_path: Path) -> None:
    home = Home(load_settings(home=write(tmp_path)))
    (tmp_path / "rows.jsonl").write_text('{"item": {"q": "a"}}\n', encoding="utf-8")
    wanted = {
        "name": "one",
        "data": {"file": "rows.jsonl"},
        "models": [{"model": "ft:a:b:c:d", "profile": "gpu"}],
        "evaluation": {
            "prompt": "{{ item.q }}",
            "graders": [{"type": "string_check", "reference": "a"}],
        },
    }
    [arm] = plan_of(EvalFile.model_validate(wanted), tmp_path, home).arms
    assert (arm.model, place_of(arm.endpoint)) == ("ft:a:b:c:d", "http://10.0.0.5:8000/v1")
    wanted["models"] = [{"model": "m", "profile": "gpu", "base_url": "http://h/v1"}]
    with pytest.raises(InvalidInput, match="a profile has its own base_url"):
        plan_of(EvalFile.model_validate(wanted), tmp_path, home)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (refusal(401, f"Incorrect API key provided: {KEY}"), AuthenticationFailed, "GPU_KEY"),
        (
            refusal(403, "We are winding down.", "training_not_available"),
            PermissionDenied,
            "selftune rescue archive.*trains an open model on this machine",
        ),
        (refusal(403, "Missing scopes."), PermissionDenied, "Missing scopes.*may not do this"),
        (
            refusal(401, "You have insufficient permissions for this operation."),
            PermissionDenied,
            "insufficient permissions.*may not do this",
        ),
        (refusal(404, f"No such File object: {KEY}"), NotFound, "No such File object: …"),
        (refusal(404, "Invalid URL (GET /files)"), NotFound, "ends with /v1"),
        (refusal(429, "No credit.", "insufficient_quota"), Unavailable, "Add credit"),
        (refusal(429, "Slower."), LimitExceeded, "requests_per_minute"),
        (refusal(400, f"Bad {KEY}."), InvalidInput, "says 400: Bad …"),
        (refusal(502, "Bad gateway."), Unavailable, "Bad gateway"),
        ((200, {}, "no list"), Unavailable, "check base_url"),
    ],
)
def test_a_refusal_is_told_with_what_to_do_and_without_the_key(
    there: Provider,
    caplog: pytest.LogCaptureFixture,
    reply: Any,
    kind: type[SelftuneError],
    words: str,
) -> None:
    caplog.set_level("DEBUG")
    there.answer = lambda asked: reply
    with pytest.raises(kind, match=words) as raised:
        list_files(gpu(there.url))
    assert "'gpu'" in raised.value.message
    shown = "".join(traceback.format_exception(raised.value))
    assert KEY not in shown + caplog.text


def test_who_cannot_be_reached_is_named() -> None:
    with pytest.raises(Unavailable, match=r"'gpu' \(http://127\.0\.0\.1:9/v1\) cannot be reached"):
        list_files(Profile(name="gpu", base_url="http://127.0.0.1:9/v1"))


def test_requests_keep_to_the_minute_and_all_are_quiet_when_one_is_told_so() -> None:
    now, begun = 1000.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def ask() -> None:
        turns = manners.Turns(60, lambda: now, sleep)
        for number in range(4):
            if number == 2:
                turns.pause(manners.asked_seconds({"retry-after": "30"}))
            await turns.wait()
            begun.append(now - 1000)

    asyncio.run(ask())
    assert begun == [0, 1, 31, 32]
    assert manners.asked_seconds({"retry-after-ms": "250"}) == 0.25
    assert manners.asked_seconds({"retry-after": "soon"}) == 0
    assert manners.asked_seconds({"retry-after": "Thu, 01 Jan 2099 00:00:00 GMT"}) > 1e8


def test_a_429_is_tried_again_by_the_sdk(there: Provider) -> None:
    replies = [(429, {"retry-after": "0.01"}, {}), EMPTY]
    there.answer = lambda asked: replies.pop(0)

    async def question() -> None:
        async with open_client(gpu(there.url)) as client:
            await client.files.list()

    asyncio.run(question())
    assert [asked.headers["x-stainless-retry-count"] for asked in there.asked] == ["0", "1"]


def test_a_check_says_what_the_account_may_do(there: Provider) -> None:
    listed = [
        {"id": "ft:gpt-4o-mini-2024-07-18:a::b", "object": "model", "shutdown_date": "2027-01-14"},
        {"id": "gpt-4.1-mini-2025-04-14", "object": "model", "shutdown_date": "2027-01-14"},
    ]

    def answer(asked: Asked) -> Any:
        if asked.path == "/v1/models":
            return 200, {}, {"object": "list", "data": listed}
        if asked.path.startswith("/v1/evals"):
            return refusal(403, "Evals are read by admins.")
        if asked.method == "POST":
            return refusal(403, "It is over.", "training_not_available")
        return EMPTY

    there.answer = answer
    found = asyncio.run(permitted(gpu(there.url), training=True, model=None))
    assert (found.models, found.tuned, found.shutdowns) == (2, 1, {"2027-01-14": 2})
    assert (found.may["list files"], found.may["list jobs"]) == ("yes", "yes")
    assert "Evals are read by admins" in found.may["list evals"]
    assert "creates no more fine-tuning jobs" in found.may["create jobs"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refusal(400, "File 'file-0' does not exist."), "^yes$"),
        (refusal(400, "Model x is not available for fine-tuning."), "^not known: .*says 400"),
        (refusal(500, "Oh."), "^not known: "),
    ],
)
def test_whether_jobs_are_created_is_asked_with_a_file_that_is_not_there(
    there: Provider, reply: Any, words: str
) -> None:
    there.answer = lambda asked: reply if asked.method == "POST" else EMPTY
    found = asyncio.run(permitted(gpu(there.url), training=True, model="x"))
    assert sum(asked.method == "POST" for asked in there.asked) == 1
    assert re.search(words, found.may["create jobs"])
