"""An open model as a sampler: whole answers, streams, tools, limits, scores."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
from tests.made_models import Shape, make_model
from tests.models.hf.made_adapters import make_adapter

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.core.records import Usage
from selftune.models.hf import telling
from selftune.models.hf.renderer import Renderer
from selftune.models.hf.runtime import Runtime, completion
from selftune.models.hf.sampling import Drawn
from selftune.models.sampler import Finish, Piece, Prompt, Sampling, Token, ToolCall
from selftune.models.samplers import hf

CHAT = ({"role": "user", "content": "Which colour has the door? Größe 🙂"},)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"unit": {"enum": ["celsius", "kelvin"]}, "day": {"enum": [1, 2, 3]}},
            "required": ["unit", "day"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "qwen", "qwen", context=400)


@pytest.fixture(scope="module")
def model(folder: Path) -> Runtime:
    return load(folder)


def load(folder: Path) -> Runtime:
    return hf.build(hf.Params(folder=folder, cache=folder.parent / "cache", threads=1))


def ask(**fields: Any) -> Prompt:
    more = {name: fields.pop(name) for name in list(fields) if name in Prompt.model_fields}
    sampling = Sampling(**{"max_tokens": 20, "seed": 1, **fields})
    return Prompt(**{"messages": CHAT, "sampling": sampling, **more})


def test_answers_in_a_batch_are_the_answers_alone(model: Runtime) -> None:
    prompts = [ask(seed=seed, n=2, temperature=t) for seed, t in enumerate([0.0, 1.0, 1.5])]
    together = model.sample(prompts)
    alone = [model.sample([prompt])[0] for prompt in prompts]
    texts = [[choice.text for choice in one.choices] for one in alone]
    assert [[choice.text for choice in one.choices] for one in together] == texts
    assert texts[0][0] == texts[0][1]
    assert texts[1][0] != texts[1][1]


def test_a_stream_adds_up_to_the_answer_and_ends_with_the_usage(model: Runtime) -> None:
    prompt = ask(n=2, logprobs=True, top_logprobs=3)
    pieces = list(model.stream(prompt))
    whole = model.sample([prompt])[0]
    streamed = completion(pieces)
    assert streamed == whole
    assert isinstance(pieces[-1], Usage)
    assert whole.usage.prompt_tokens == len(model.renderer.prompt(CHAT))
    assert whole.usage.completion_tokens == sum(len(choice.tokens) for choice in whole.choices)
    for token in whole.choices[0].tokens:
        assert len(token.top) == 3
        assert token.top[0].logprob >= token.logprob
    assert [choice.finish_reason for choice in whole.choices] == ["length", "length"]


def test_a_text_is_gone_on_with_as_it_is(model: Runtime) -> None:
    found = model.sample([ask(text="The ferry to the", messages=())])[0]
    assert found.usage.prompt_tokens == len(model.renderer.text("The ferry to the"))
    assert model.sample([ask(text="", messages=())])[0].usage.prompt_tokens == 1


def test_a_model_goes_on_until_its_stop_token(model: Runtime) -> None:
    end = model.renderer.stop_ids[0]
    found = model.sample([ask(logit_bias={end: 100})])[0]
    assert (found.choices[0].text, found.choices[0].finish_reason) == ("", "stop")
    assert found.usage.completion_tokens == 0


def test_a_prompt_longer_than_the_context_is_refused_in_openais_words(model: Runtime) -> None:
    long = ({"role": "user", "content": "word " * 600},)
    with pytest.raises(InvalidInput, match="maximum context length is 400 tokens") as caught:
        model.sample([ask(messages=long)])
    assert caught.value.code == "context_length_exceeded"
    assert not model.step()


def test_an_answer_ends_at_the_context(model: Runtime) -> None:
    stops = dict.fromkeys(model.renderer.stop_ids, -100.0)
    found = model.sample([ask(max_tokens=None, logit_bias=stops)])[0]
    assert found.usage.total_tokens == 400
    assert found.choices[0].finish_reason == "length"


def test_many_models_of_one_base_share_it_and_answer_in_one_batch(
    folder: Path, model: Runtime, tmp_path: Path
) -> None:
    folders = [make_adapter(folder, tmp_path / str(seed), seed=seed) for seed in range(3)]
    for one in folders:
        Renderer.load(folder).save(one)
    models = [load(one) for one in folders]
    prompt = ask(temperature=0)
    alone = [one.sample([prompt])[0].choices[0].text for one in [model, *models]]
    assert len(set(alone)) == 4
    told: list[list[Piece | SelftuneError]] = [[] for _ in alone]
    for each, pieces in zip([model, *models], told, strict=True):
        each.start(prompt, pieces.append)
    while models[1].step():
        pass
    assert [completion(pieces).choices[0].text for pieces in told] == alone


def test_a_base_that_changed_since_the_training_is_refused(folder: Path, tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", "qwen", seed=5)
    adapter = make_adapter(base, tmp_path / "adapter")
    Renderer.load(base).save(adapter)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}), encoding="utf-8")
    with pytest.raises(InvalidInput, match="another base"):
        load(adapter)


def test_a_dropped_prompt_is_told_nothing_and_the_others_go_on(model: Runtime) -> None:
    told: list[Piece | SelftuneError] = []
    kept: list[Piece | SelftuneError] = []
    number = model.start(ask(), told.append)
    model.start(ask(), kept.append)
    model.step()
    model.drop(number)
    before = len(told)
    while model.step():
        pass
    assert len(told) == before
    assert isinstance(kept[-1], Usage)


def test_a_stream_that_is_closed_leaves_the_batch(model: Runtime) -> None:
    stream = model.stream(ask(max_tokens=100))
    next(stream)
    assert isinstance(stream, Iterator)
    stream.close()  # type: ignore[attr-defined]
    assert not model.step()


def test_embeddings_are_refused_with_a_way_out(model: Runtime) -> None:
    with pytest.raises(InvalidInput, match="embedding model"):
        model.embed(["a"])


@pytest.mark.parametrize("shape", ["llama", "qwen", "gemma"])
def test_scores_are_the_log_probabilities_of_one_pass(shape: Shape, tmp_path: Path) -> None:
    """A whole pass of the transformers model is the truth; the scores go through the cache."""
    base = make_model(tmp_path / shape, shape)
    model = load(base)
    sequences = [[5, 9, 33, 200, 41, 7, 90], [12, 13], [44] * 120, [8]]
    engine = model._engine
    for ids, scores in zip(sequences, model.score(sequences), strict=True):
        with torch.inference_mode():
            logits = engine.loaded.model(torch.tensor([ids])).logits[0]
        known = torch.log_softmax(logits.float(), dim=-1)
        truth = [float(known[at, token]) for at, token in enumerate(ids[1:])]
        assert scores == pytest.approx(truth, abs=2e-4)


@pytest.mark.parametrize("shape", ["llama", "qwen"])
def test_a_required_tool_is_called_with_arguments_of_its_schema(
    shape: Shape, tmp_path: Path
) -> None:
    model = load(make_model(tmp_path / shape, shape))
    prompt = ask(tools=(WEATHER, TIME), tool_choice="required", n=8, max_tokens=400)
    found = model.sample([prompt])[0]
    names = set()
    for choice in found.choices:
        assert choice.finish_reason == "tool_calls"
        assert choice.text == ""
        for call in choice.tool_calls:
            names.add(call.name)
            if call.name == "get_weather":
                arguments = json.loads(call.arguments)
                assert arguments["unit"] in ("celsius", "kelvin")
                assert arguments["day"] in (1, 2, 3)
    assert "get_weather" in names


def test_a_named_tool_is_the_one_that_is_called(model: Runtime) -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    prompt = ask(tools=(TIME, WEATHER), tool_choice=choice, parallel_tool_calls=False, n=5)
    for answer in model.sample([prompt.model_copy(update={"sampling": long(5)})])[0].choices:
        assert [call.name for call in answer.tool_calls] == ["get_weather"]


def long(n: int) -> Sampling:
    return Sampling(n=n, seed=3, max_tokens=150)


def test_a_call_that_the_model_begins_by_itself_is_held_to_its_schema(model: Runtime) -> None:
    """Of a model with random weights, a bias plays the wish to call."""
    mark = model.renderer.tokenizer.get_vocab()["<tool_call>"]
    sampling = Sampling(n=5, seed=3, max_tokens=150, logit_bias={mark: 12.0})
    prompt = ask(tools=(WEATHER,), sampling=sampling)
    called = 0
    for answer in model.sample([prompt])[0].choices:
        called += len(answer.tool_calls)
        for call in answer.tool_calls:
            assert json.loads(call.arguments)["unit"] in ("celsius", "kelvin")
        assert "<tool_call>" not in answer.text
    assert called >= 5


def test_tools_that_are_not_to_be_called_are_not_shown(model: Runtime) -> None:
    found = model.sample([ask(tools=(WEATHER,), tool_choice="none")])[0]
    assert found.usage.prompt_tokens == len(model.renderer.prompt(CHAT))


# What is told of an answer, token by token.


def said(
    model: Runtime, text: str, *, stops: tuple[str, ...] = (), tools: Any = (), pieces: int = 0
) -> tuple[list[Piece], bool]:
    """Tell a text as if the model had drawn it."""
    told: list[Piece] = []
    teller = telling.Telling(model.renderer, 0, stops, tools, told.append)
    ids = model.renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
    going = True
    for token in ids[: pieces or None]:
        going = teller.take(Drawn(token, -1.0, ()))
        if not going:
            teller.stop()
            return told, False
    if not pieces:
        teller.finish("stop")
    return told, going


def texts(told: list[Piece]) -> str:
    return "".join(piece.text for piece in told if isinstance(piece, Token))


def test_characters_of_many_bytes_are_told_whole(model: Runtime) -> None:
    text = "Größe 日本 🙂👩‍🚀 é end"
    told, _ = said(model, text)
    assert texts(told) == text
    assert all("�" not in piece.text for piece in told if isinstance(piece, Token))
    assert sum(isinstance(piece, Token) and piece.text == "" for piece in told) > 5


def test_a_character_that_is_cut_is_left_out(model: Runtime) -> None:
    ids = model.renderer.tokenizer("ab🙂", add_special_tokens=False)["input_ids"]
    told: list[Piece] = []
    teller = telling.Telling(model.renderer, 0, (), (), told.append)
    for token in ids[:-1]:
        teller.take(Drawn(token, -1.0, ()))
    teller.finish("length")
    assert texts(told) == "ab"
    assert told[-1] == Finish(reason="length")
    assert len(told) == len(ids)


@pytest.mark.parametrize("stop", ["answer", "in one", " w", "P", "word: which", "?"])
def test_no_piece_of_a_stop_string_is_told(model: Runtime, stop: str) -> None:
    text = "Please answer in one word: which colour?"
    told, going = said(model, text, stops=(stop, "never"))
    assert texts(told) == text[: text.index(stop)]
    assert not going
    assert told[-1] == Finish(reason="stop")


def test_text_that_only_looks_like_the_beginning_of_a_stop_string_is_told(model: Runtime) -> None:
    text = "aab aaab aa"
    told, going = said(model, text, stops=("aaaa",))
    assert texts(told) == text
    assert going


def test_text_is_told_as_soon_as_it_is_settled(model: Runtime) -> None:
    told, _ = said(model, "Please answer in one word", stops=("zzz",), pieces=3)
    assert len(told) == 3


def test_what_the_model_thinks_is_not_told(model: Runtime) -> None:
    told, _ = said(model, "<think>\nPlease answer\n</think>\n\nPlease answer in one word")
    assert texts(told) == "Please answer in one word"


def test_calls_are_told_as_calls_and_the_text_before_them_as_text(model: Runtime) -> None:
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"unit": "kelvin", "day": 1}}\n'
    text = f"One moment please. \n{call}</tool_call>"
    told, _ = said(model, text, tools=(WEATHER,))
    assert texts(told) == "One moment please."
    assert [piece for piece in told if isinstance(piece, ToolCall)] == [
        ToolCall(name="get_weather", arguments='{"unit": "kelvin", "day": 1}')
    ]
    assert told[-1] == Finish(reason="tool_calls")


def test_a_mark_with_no_call_behind_it_is_text_after_all(model: Runtime) -> None:
    text = "I would <tool_call> nobody"
    told, _ = said(model, text, tools=(WEATHER,))
    assert texts(told) == text
    assert told[-1] == Finish(reason="stop")
