"""An open model's own tokenizer and template, from its folder; this one is made on the spot."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from selftune.core.errors import InvalidInput
from selftune.models.open_tokenizer import is_folder_of_a_model, load_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'assistant' %}{% generation %}{% endgeneration %}{% endif %}"
    "[{{ m.role }}] {{ m.content }} {{ eos_token }} "
    "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)
CHAT = [{"role": "user", "content": "red blue"}, {"role": "assistant", "content": "green"}]


def make_model(folder: Path, template: object = TEMPLATE) -> Path:
    """Write a tokenizer of words, with a truncation that must not count."""
    words = ["[UNK]", "red", "blue", "green", "[", "]", "user", "assistant", "<s>", "</s>"]
    tokenizer = Tokenizer(
        models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"chat_template": template, "bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_texts_are_counted_whole_whatever_truncation_the_file_has(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_model(tmp_path / "model"))
    assert tokenizer.count_many(["red blue green red", "", "red"]).tolist() == [4, 0, 1]


def test_a_lone_surrogate_is_counted_and_not_refused(tmp_path: Path) -> None:
    assert load_tokenizer(make_model(tmp_path / "m")).count_many(["red \ud83d"]).tolist() == [2]


def test_a_chat_is_rendered_with_special_tokens_and_a_mark_of_generation(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_model(tmp_path / "model"))
    assert tokenizer.render(CHAT) == "<s>[user] red blue </s> [assistant] green </s> "
    assert tokenizer.render(CHAT[:1], asks=True) == "<s>[user] red blue </s> [assistant] "


@pytest.mark.parametrize("named", ["list", "file"])
def test_a_template_may_have_a_name_or_a_file_of_its_own(tmp_path: Path, named: str) -> None:
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]
    folder = make_model(tmp_path / "model", several)
    if named == "file":
        (folder / "chat_template.jinja").write_text("z", encoding="utf-8")
    assert load_tokenizer(folder).render(CHAT) == {"list": "y", "file": "z"}[named]


def test_json_in_a_template_is_not_escaped_for_html(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_model(tmp_path / "m", "{{ tools | tojson }}"))
    assert tokenizer.render(CHAT, [{"a": "<b> & 'ü'"}]) == """[{"a": "<b> & 'ü'"}]"""


def test_a_model_without_a_template_counts_texts_and_renders_nothing(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_model(tmp_path / "model", None))
    assert not tokenizer.has_template
    with pytest.raises(InvalidInput, match="has no chat template"):
        tokenizer.render(CHAT)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% if %}", "is not valid"),
        ("{{ raise_exception('no such order') }}", "no such order"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "append"),
        ("{{ 1 // 0 }}", "by zero"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(tmp_path: Path, template: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        load_tokenizer(make_model(tmp_path / "model", template)).render(CHAT)


@pytest.mark.parametrize("text", ["", "{}", '{"model": 3}', "not json"])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{"])
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"tokenizer_config\.json"):
        load_tokenizer(folder)


def test_a_folder_is_a_model_when_it_has_a_tokenizer(tmp_path: Path) -> None:
    assert is_folder_of_a_model(str(make_model(tmp_path / "model")))
    assert not is_folder_of_a_model(str(tmp_path))
    assert not is_folder_of_a_model("gpt-4o-mini")
