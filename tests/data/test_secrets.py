"""Secrets in texts."""

import pytest
from tests.data.made_up import SECRETS, letters

from selftune.data.findings import secrets
from selftune.data.findings.secrets import find_secrets


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_found_where_it_stands(kind: str) -> None:
    secret = SECRETS[kind]
    text = f"Très bien — here it is: {secret}\nKeep it."
    found = find_secrets(["Nothing here.", text, "Nor here."])
    assert [(finding.text_index, finding.rule, finding.kind) for finding in found] == [
        (1, "secret", kind)
    ]
    end = found[0].start + found[0].length
    assert 24 <= found[0].start < end <= text.index("\nKeep") or kind == "private key"


@pytest.mark.parametrize(
    "text",
    [
        "Das Passwort lautet: Rosen" + "garten77",
        "password = 'Pa$$w0" + "rd1!'",
        '{"api_key": "9f3a7c10be' + '58d246"}',
        "export API_KEY=Zx9" + "Kq27LmN4",
        "client secret: 7fGh" + "92kLmQ",
    ],
)
def test_passwords_are_found_by_the_word_before_them(text: str) -> None:
    assert [finding.kind for finding in find_secrets([text])] == ["password or key"]


def test_older_keys_of_openai_are_found_too() -> None:
    for key in ("s" + "k-" + letters(48), "s" + "k-" + letters(20) + "T3Blbk" + "FJ" + letters(20)):
        assert [finding.kind for finding in find_secrets([key])] == ["OpenAI key"]


def test_every_shape_has_an_example() -> None:
    assert {shape.kind for shape in secrets.shapes()} == set(SECRETS)


def test_the_anchors_are_few_enough_to_be_compared_at_once() -> None:
    anchors = {anchor for shape in secrets.shapes() for anchor in shape.anchors}
    assert len([anchor for anchor in anchors if len(anchor) > 3]) <= 64


@pytest.mark.parametrize(
    "text",
    [
        "Set OPENAI_API_KEY=sk-your-key-here-and-run-it-again",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "sk-" + "x" * 48,
        "ghp_" + "X" * 36,
        "api_key = os.environ['API_KEY_1']",
        'password = get_password("user1")',
        "password: {{ vault.password1 }}",
        "password: ********",
        "password=%s1 and password=$HOME1",
        "Your password must be 8 to 12 characters long.",
        "The secret is to stir it for 20 minutes.",
        "postgresql://user:password@localhost/db",
        "https://example.com/a:b?c=d@e",
        "-----BEGIN " + "PRIVATE KEY----- marks the beginning of a key.",
        "The task-force met; the risk-averse left.",
        "commit 9f3a7c10be58d2469f3a7c10be58d2469f3a7c10",
        "id 123e4567-e89b-12d3-a456-426614174000",
        "eyJ is how a token begins",
        "xoxo-love-and-kisses",
    ],
)
def test_placeholders_words_and_hashes_are_no_secrets(text: str) -> None:
    assert find_secrets([text]) == []


def test_a_text_has_one_finding_of_a_kind() -> None:
    key = "gh" + "p_" + letters(36)
    assert len(find_secrets([f"{key} {key}"])) == 1
    assert len(find_secrets([key, key])) == 2


def test_a_secret_after_very_many_decoys_is_looked_for_in_bounded_time() -> None:
    assert find_secrets(["=eyJ" * 500_000]) == []
    assert find_secrets(["ghp_ " * 500_000]) == []


def test_a_secret_at_the_edge_of_a_text_is_not_joined_with_the_next_text() -> None:
    key = "gh" + "p_" + letters(36)
    assert find_secrets([key[:20], key[20:]]) == []
    assert find_secrets([]) == []
    assert find_secrets([""]) == []
