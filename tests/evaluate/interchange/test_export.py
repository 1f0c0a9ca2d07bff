"""Evals become configs of promptfoo; what comes back in is what went out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from tests.evaluate.interchange.bringing import bring
from tests.evaluate.interchange.verdicts import VERDICTS
from typer.testing import CliRunner

from selftune.cli.main import app
from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.promptfoo_assertions import mapped
from selftune.evaluate.interchange.yaml_text import load_yaml, write_yaml

EXACT: list[dict[str, Any]] = [
    {"type": "string_check", "name": "same", "reference": "{{ item.a }}", "operation": "eq"},
    {"type": "string_check", "name": "other", "reference": "yes", "operation": "ne"},
    {"type": "string_check", "name": "has", "reference": 'x: "y" #', "operation": "like"},
    {"type": "string_check", "name": "any case", "reference": "0o17", "operation": "ilike"},
    {"type": "starts_with", "name": "opening", "phrase": "{{ item.a }}"},
    {"type": "json_schema", "name": "shape", "json_schema": {"type": "object"}},
    {"type": "regex", "name": "figures", "pattern": "\\A[0-9]+\\Z"},
]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "home"))


def eval_file(folder: Path, rows: list[dict[str, Any]], graders: Any, **more: Any) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluation = {"prompt": "What is {{ item.q }}?", "id": "id", "graders": graders}
    evaluation |= more.pop("evaluation", {})
    whole = {
        "name": "Export me",
        "data": {"file": "rows.jsonl"},
        "models": [{"model": "gpt-4o-mini", "base_url": "https://api.openai.com/v1"}],
        "evaluation": {key: value for key, value in evaluation.items() if value is not None},
        **more,
    }
    path = folder / "eval.toml"
    path.write_text(tomli_w.dumps(whole))
    return path


def exported(path: Path, *arguments: str) -> str:
    target = path.with_name("promptfooconfig.yaml")
    command = ["eval", "export", str(path), "--to", "promptfoo", "-o", str(target), *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def config_of(path: Path) -> dict[str, Any]:
    target = path.with_name("promptfooconfig.yaml")
    found: dict[str, Any] = load_yaml(target.read_text(), target)
    return found


ROWS: list[dict[str, Any]] = [
    {"item": {"id": "1", "q": "yes", "a": "1e5", "n": 3}},
    {"item": {"id": "2", "q": "two\nlines: # and\n", "a": "é 😀\t", "n": 4}},
    {"item": {"id": "3", "q": " lead\n  indent", "a": "null", "n": 5}},
]


def test_what_is_exact_comes_back_as_it_went(tmp_path: Path) -> None:
    system = {"system": "Answer in one word."}
    path = eval_file(tmp_path, ROWS, EXACT, evaluation=system)
    exported(path)
    found = bring(tmp_path, path.with_name("promptfooconfig.yaml"), id_field="id")
    spec = found.spec
    assert (spec.name, spec.evaluation.prompt) == ("Export me", "What is {{ item.q }}?")
    assert spec.evaluation.system == "Answer in one word."
    assert [model.model for model in spec.models] == ["gpt-4o-mini"]
    back = [{k: v for k, v in g.items() if k != "input"} for g in spec.evaluation.graders]
    assert back == EXACT
    assert [row["item"] for row in found.rows] == [row["item"] for row in ROWS]


def test_chats_go_out_and_come_back_whole(tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": 'S "q" \\ é'},
        {"role": "user", "content": "line\nline"},
    ]
    row = {"id": "7", "messages": [*chat, {"role": "assistant", "content": "right"}]}
    graders = [{"type": "string_check", "reference": "{{ item.reference }}", "operation": "eq"}]
    path = eval_file(tmp_path, [row], graders, evaluation={"prompt": None})
    exported(path)
    found = bring(tmp_path, path.with_name("promptfooconfig.yaml"), id_field="id")
    assert list(found.asked[0].messages) == chat
    assert found.asked[0].item["reference"] == "right"


def test_graders_without_counterpart_are_named_in_the_file_and_on_the_screen(
    tmp_path: Path,
) -> None:
    graders = [
        EXACT[0],
        {"type": "text_similarity", "reference": "x", "evaluation_metric": "rouge_l"},
        {"type": "label", "reference": "x", "labels": ["x", "y"]},
        {"type": "regex", "pattern": "(?i)x"},
        {"type": "string_check", "input": "{{ item.q }}", "reference": "x"},
        {"type": "string_check", "reference": "{{ item.a | upper }}"},
        {"type": "string_check", "reference": "file://x"},
    ]
    path = eval_file(tmp_path, ROWS, graders)
    said = " ".join(exported(path).split())
    text = path.with_name("promptfooconfig.yaml").read_text()
    assert text.count("# not taken over: grader") == 6
    assert said.count("not taken over: grader") == 6
    assert len(config_of(path)["defaultTest"]["assert"]) == 1


def test_judges_and_programs_go_out_with_a_note(tmp_path: Path) -> None:
    graders = [
        {"type": "judge", "model": "gpt-4o", "rubric": "Kind", "question": "{{ item.q }}"},
        {
            "type": "score_model",
            "model": "gpt-4o",
            "range": [1, 5],
            "pass_threshold": 4,
            "input": [{"role": "user", "content": "Rate {{ sample.output_text }}."}],
        },
        {"type": "python", "source": "def grade(sample, item):\n    return 1.0\n"},
    ]
    path = eval_file(tmp_path, ROWS, graders)
    said = exported(path)
    judge, scored, program = config_of(path)["defaultTest"]["assert"]
    assert (judge["type"], judge["provider"]) == ("llm-rubric", "openai:chat:gpt-4o")
    assert (judge["threshold"], scored["threshold"]) == (0.75, 0.75)
    assert program["value"].endswith('return float(grade(_sample, context["vars"]))\n')
    assert "check its verdicts anew" in " ".join(said.split())
    assert "without a sandbox" in " ".join(said.split())


@pytest.mark.parametrize("text", ["{{ evil }}", "{% for x in y %}", "file:///etc/passwd"])
def test_a_row_that_promptfoo_would_evaluate_is_left_out(tmp_path: Path, text: str) -> None:
    rows: list[dict[str, Any]] = [*ROWS, {"item": {"id": "4", "q": text, "a": "x"}}]
    path = eval_file(tmp_path, rows, EXACT)
    said = exported(path)
    assert "left out 1 row" in said
    assert len(config_of(path)["tests"]) == 3


def test_models_of_this_machine_are_asked_through_its_server(tmp_path: Path) -> None:
    models = [{"model": "selftune/minilm", "sampling": {"top_p": 0.5}}]
    path = eval_file(tmp_path, ROWS, EXACT, models=models, evaluation={"samples": 3})
    exported(path)
    config = config_of(path)
    (provider,) = config["providers"]
    assert provider["id"] == "openai:chat:selftune/minilm"
    assert provider["config"]["apiBaseUrl"] == "http://127.0.0.1:8000/v1"
    assert provider["config"]["top_p"] == 0.5
    assert config["evaluateOptions"]["repeat"] == 3


def test_an_eval_of_which_nothing_can_be_judged_is_refused(tmp_path: Path) -> None:
    path = eval_file(tmp_path, ROWS, [{"type": "label", "reference": "x", "labels": ["x", "y"]}])
    command = ["eval", "export", str(path), "--to", "promptfoo"]
    with pytest.raises(InvalidInput, match="No grader"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    with pytest.raises(InvalidInput, match="--to promptfoo"):
        CliRunner().invoke(app, [*command[:-1], "deepeval"], catch_exceptions=False)


def test_regular_expressions_go_there_and_back_with_the_same_matches() -> None:
    from selftune.evaluate.interchange.javascript_regex import to_javascript, to_python

    texts = [output for _, output, _ in VERDICTS] + ["a\n", "\n", "12", "foo bar", "x-1"]
    for pattern in (r"^[0-9]+$", r"a.c", r"\Afoo\b", r"(?P<n>x)-", r"[.$^]", r"a|\Z", r"(?<=o)\s"):
        again = to_python(to_javascript(pattern))
        for text in texts:
            assert bool(re.search(pattern, text)) is bool(re.search(again, text)), (pattern, text)


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "No",
        "1e5",
        "0o17",
        "012",
        "~",
        "",
        " x",
        "x ",
        "a: b",
        "# c",
        "\n",
        "a\n\nb\n",
        "é\u2028",
    ],
)
def test_every_text_stays_a_text_in_yaml(text: str, tmp_path: Path) -> None:
    import yaml

    value = {"key": text, "list": [text, 1, 1.5, None, True]}
    assert load_yaml(write_yaml(value), tmp_path) == value
    assert yaml.safe_load(write_yaml(value)) == value


def test_an_assertion_that_came_in_goes_out_again(tmp_path: Path) -> None:
    kinds = {"equals", "not-equals", "contains", "icontains", "starts-with", "is-json", "regex"}
    given = [
        a for a, _, _ in VERDICTS if a["type"] in kinds and not isinstance(a.get("value"), bool)
    ]
    graders = []
    for assertion in given:
        found = mapped(assertion, None)
        literal = {} if found.literal is None else {found.field: found.literal}
        graders.append({**found.grader, **literal})
    rows = [{"item": {"id": "1", "q": "x", "capital": "Lima"}}]
    path = eval_file(tmp_path, rows, graders)
    exported(path)
    out = config_of(path)["defaultTest"]["assert"]
    assert [each["type"] for each in out if each["type"] != "is-json"] == [
        each["type"] for each in given if each["type"] != "is-json" and not _is_object(each)
    ]


def _is_object(assertion: dict[str, Any]) -> bool:
    return isinstance(assertion.get("value"), dict)
