"""Chat templates are proved before anything is trained, and models are loaded as they were trained."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.made_models import LLAMA_TEMPLATE, TEXTS, make_tokenizer

from selftune.core.errors import JobFailed
from selftune.models.hf.renderer import Renderer

SAYS = "(message.content | trim)"
END = "{{- (message.content | trim) + '<|eot_id|>' }}"
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def base(folder: Path, template: str, special: tuple[str, ...] = ()) -> Path:
    """Write a tokenizer with a chat template, and no model: a renderer needs none."""
    tokenizer = make_tokenizer("llama", 512, TEXTS)
    tokenizer.add_tokens(list(special), special_tokens=True)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(str(folder))
    return folder


def own(condition: str) -> str:
    """Return the template with another content for what the assistant says."""
    return LLAMA_TEMPLATE.replace(
        SAYS, f"({condition} if message.role == 'assistant' else message.content)"
    )


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (own("''"), "the assistant says 'Seven.', and it writes"),
        (own("message.content | lower"), "the assistant says 'Seven.', and it writes"),
        (own("message.content[:20]"), "the assistant says 'Two  spaces"),
        (own("message.content | replace('\\n\\n', '\\n')"), "the assistant says 'Two  spaces"),
        (own("message.content | length ~ message.content"), "depends on the answer"),
        (own("message.content | replace(' ', '')"), "the assistant says"),
        (own("message.content | center(40)"), "depends on the answer"),
        (LLAMA_TEMPLATE.replace(END, "{{- message.content }}"), "which is no token of its own"),
        (
            LLAMA_TEMPLATE.replace(
                SAYS, "(message.content if message.role == 'assistant' else '')"
            ),
            "does not show what the user says",
        ),
        (LLAMA_TEMPLATE + "{{- 'Answer: ' if add_generation_prompt }}", "does not begin with"),
        (LLAMA_TEMPLATE.replace("bos_token }}", "bos_token.nothing() }}"), "refuses this"),
        ("{{ raise_exception('Not today.') }}", "Not today"),
        ("{% if %}", "refuses this conversation"),
        ("", "has no chat template"),
    ],
)
def test_a_template_without_a_correct_mask_is_refused_with_its_fault(
    tmp_path: Path, template: str, fault: str
) -> None:
    with pytest.raises(JobFailed, match=fault) as refused:
        Renderer.load(base(tmp_path, template))
    assert refused.value.code == "chat_template_refused"


@pytest.mark.parametrize("kept", [True, False])
def test_spaces_around_answers_may_be_stripped_and_are_told(tmp_path: Path, kept: bool) -> None:
    template = LLAMA_TEMPLATE.replace(SAYS, "message.content") if kept else LLAMA_TEMPLATE
    renderer = Renderer.load(base(tmp_path, template))
    assert renderer.proven.trims is not kept


def test_a_template_that_prints_the_date_prints_the_same_one_for_ever(tmp_path: Path) -> None:
    template = LLAMA_TEMPLATE.replace(
        "{{- bos_token }}", "{{- bos_token + 'Today: ' + strftime_now('%d %b %Y') }}"
    )
    renderer = Renderer.load(base(tmp_path, template))
    (example,) = renderer.training({"messages": CHAT}, 100)
    assert "Today: 26 Jul 2024" in renderer.shown(example)


TEMPLATES = {
    "qwen2_5": "hermes",
    "qwen3": "hermes",
    "qwen3_6": "qwen_xml",
    "llama3": None,
    "llama3_1": "llama3",
    "gemma": None,
    "gemma3": None,
    "gemma4": "gemma4",
    "gptoss": "harmony",
    "phi3": None,
    "cohere": None,
    "nemotron_3_nano": "qwen_xml",
}
MARKED = (
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_turn>",
    "<end_of_turn>",
    *("<|turn>", "<turn|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", '<|"|>'),
    *(f"<|{name}|>" for name in ("start", "channel", "message", "end", "return", "call")),
    *(f"<|{name}|>" for name in ("constrain", "user", "assistant", "system", "CHATBOT_TOKEN")),
    *(f"<|{name}_TOKEN|>" for name in ("START_OF_TURN", "END_OF_TURN", "USER", "SYSTEM")),
)


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_as_their_makers_publish_them_are_understood(tmp_path: Path, name: str) -> None:
    yardstick = find_spec("trl")
    assert yardstick is not None
    assert yardstick.origin is not None
    source = Path(yardstick.origin).parent / "chat_templates" / f"{name}.jinja"
    renderer = Renderer.load(base(tmp_path, source.read_text(encoding="utf-8"), MARKED))
    assert (renderer.family and renderer.family.name) == TEMPLATES[name]
    (example,) = renderer.training({"messages": CHAT}, 5000)
    assert example.ids[: example.weights.index(1.0)] == renderer.prompt(CHAT[:1])
    assert renderer.parse("".join(shown_answer(renderer.shown(example))), ())[0] == "Hello"


MISTRAL = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- if tools and loop.index0 == 0 %}
            {{- '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.tool_calls is defined %}
        {%- for call in message.tool_calls %}{% if call.id | length != 9 %}
            {{- raise_exception('Ids of calls have 9 letters.') }}
        {%- endif %}{% endfor %}
        {{- CALLS }}
        {{- eos_token }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS] ' + message.content + '[/TOOL_RESULTS]' }}
    {%- elif message.role == 'assistant' %}
        {{- ' ' + message.content + eos_token }}
    {%- endif %}
{%- endfor %}
"""
LISTED = """'[TOOL_CALLS] [' }}{% for call in message.tool_calls %}
    {{- ', ' if not loop.first }}{{ {'name': call.function.name,
    'arguments': call.function.arguments, 'id': call.id} | tojson }}{% endfor %}{{- ']'"""
NAMED = """'' }}{% for call in message.tool_calls %}
    {{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' }}
    {{- call.function.arguments | tojson }}{% endfor %}{{- ''"""


@pytest.mark.parametrize(("calls", "family"), [(LISTED, "mistral"), (NAMED, "mistral_named")])
def test_mistrals_ways_to_call_are_told_apart(tmp_path: Path, calls: str, family: str) -> None:
    own = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]", "[TOOL_RESULTS]")
    renderer = Renderer.load(base(tmp_path, MISTRAL.replace("CALLS }}", f"{calls} }}}}"), own))
    assert renderer.family is not None
    assert renderer.family.name == family
    (example,) = renderer.training({"messages": CHAT}, 100)
    assert renderer.shown(example) == "<|begin_of_text|>[INST] Hi[/INST]⟦ Hello<|eot_id|>⟧"
    assert renderer.parse(" Hello")[0] == "Hello"


def shown_answer(shown: str) -> str:
    """Return what is in the loss, without its stop token."""
    inside = shown[shown.index("⟦") + 1 : shown.index("⟧")]
    return inside[: inside.rindex("<")]


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """Return a model's folder as training leaves it."""
    folder = tmp_path / "tuned"
    folder.mkdir()
    Renderer.load(base(tmp_path / "base", LLAMA_TEMPLATE)).save(folder)
    return folder


def test_a_saved_renderer_is_loaded_as_it_was(tmp_path: Path, tuned: Path) -> None:
    before, after = Renderer.load(tmp_path / "base"), Renderer.load(tuned)
    assert after.told() == before.told()
    row = {"messages": [*CHAT, {"role": "user", "content": "<|eot_id|> ø 日本"}, CHAT[1]]}
    assert after.training(row, 1000) == before.training(row, 1000)
    assert (after.stop_ids, after.context) == (before.stop_ids, before.context)


def test_another_template_in_a_models_folder_is_refused(tuned: Path) -> None:
    path = tuned / "chat_template.jinja"
    path.write_text(LLAMA_TEMPLATE.replace("\\n\\n", "\\n"), encoding="utf-8")
    with pytest.raises(
        JobFailed, match=r"template_sha256, probe_text, probe_ids differ"
    ) as refused:
        Renderer.load(tuned)
    assert refused.value.code == "renderer_differs"


def test_another_vocabulary_in_a_models_folder_is_refused(tuned: Path) -> None:
    make_tokenizer("llama", 500, TEXTS).save_pretrained(str(tuned.parent / "other"))
    other = (tuned.parent / "other" / "tokenizer.json").read_text(encoding="utf-8")
    (tuned / "tokenizer.json").write_text(other, encoding="utf-8")
    with pytest.raises(JobFailed, match=r"of renderer.json, probe_ids differ"):
        Renderer.load(tuned)


def test_a_change_of_what_is_kept_is_named(tuned: Path) -> None:
    path = tuned / "renderer.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(kept | {"family": "hermes"}), encoding="utf-8")
    with pytest.raises(JobFailed, match="family was 'hermes', and is 'llama3'"):
        Renderer.load(tuned)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(JobFailed, match="damaged"):
        Renderer.load(tuned)


def test_another_version_of_the_library_is_fine_where_nothing_else_changed(tuned: Path) -> None:
    path = tuned / "renderer.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(kept | {"library": "4.0.0"}), encoding="utf-8")
    assert Renderer.load(tuned).prompt(CHAT[:1])


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(JobFailed, match="cannot be loaded"):
        Renderer.load(tmp_path)
