"""Files of strangers: what they may not do, and what is said then."""

import json
import os
from pathlib import Path

import pytest
from tests.evaluate.interchange.bringing import bring, written
from tests.evaluate.interchange.test_openai_evals import EVAL, output_item, run

from selftune.core.errors import InvalidInput

OBJECTS = [EVAL, run("evalrun_a", "m", 5)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.json", "", "not valid JSON"),
        ("half.json", '{"object": "eval", ', "not valid JSON"),
        ("nul.json", '{"a": "\x00"}', "not valid JSON"),
        ("text.json", '"eval"', "neither an object nor a list"),
        ("nothing.json", "{}", "of no known tool"),
        ("other.json", '{"rows": [1, 2]}', "of no known tool"),
        ("deep.json", "[" * 200_000, "nested too deeply"),
        ("deeper.json", '{"data": ' + "[" * 150 + "]" * 150 + "}", "nested deeper than 100"),
        ("number.json", "[" + "9" * 5_000 + "]", "not valid JSON"),
        ("other.yaml", "a: 1\nb: [x]\n", "of no known tool"),
        ("empty.jsonl", "\n\n", "of no known tool"),
        ("surrogate.json", '{"name": "\\ud800", "testing_criteria": 1}', "surrogate"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=words) as caught:
        bring(tmp_path, tmp_path / name)
    assert name in caught.value.message


def test_a_file_that_is_not_utf8_is_refused_at_its_byte(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(InvalidInput, match="not UTF-8, at byte 7"):
        bring(tmp_path, tmp_path / "latin.json")


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", tmp_path / "none.json", Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(InvalidInput):
            bring(tmp_path, path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no file of"):
        bring(tmp_path, tmp_path)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selftune.evaluate.interchange.untrusted.MAX_BYTES", 100)
    with pytest.raises(InvalidInput, match="split it"):
        bring(tmp_path, written(tmp_path / "large.json", EVAL))


def test_lines_that_are_no_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [json.dumps(each) for each in (*OBJECTS, output_item("evalrun_a", 0, "a"))]
    bad = ["garbage", "[1, 2]", '{"a": ', "\x00", '{"deep": ' + "[" * 120 + "]" * 120 + "}"]
    (tmp_path / "all.jsonl").write_text("\n".join([*lines, *bad]))
    found = bring(tmp_path, tmp_path / "all.jsonl")
    assert len(found.round()[2]) == 1
    assert any("left out 3 rows: not valid JSON" in gap for gap in found.gaps)
    assert any("not a JSON object (all.jsonl:5)" in gap for gap in found.gaps)
    assert any("nested deeper" in gap for gap in found.gaps)


@pytest.mark.parametrize(
    "item",
    [
        None,
        "text",
        [1],
        {"text": float("nan"), "label": "a"},
        {"text": {"deep": float("inf")}, "label": "a"},
    ],
)
def test_an_item_that_is_none_is_left_out(tmp_path: Path, item: object) -> None:
    bad = {**output_item("evalrun_a", 1, "a"), "datasource_item": item}
    text = "\n".join(json.dumps(each) for each in (*OBJECTS, output_item("evalrun_a", 0, "a"), bad))
    (tmp_path / "all.jsonl").write_text(text)
    found = bring(tmp_path, tmp_path / "all.jsonl")
    assert [each.item["text"] for each in found.round()[1]] == ["ticket 0"]
    assert any("left out 1 row" in gap for gap in found.gaps)


@pytest.mark.parametrize(
    "changes",
    [
        {"results": 7},
        {"results": [1, None, {"name": None, "score": "high", "passed": "yes"}]},
        {"sample": [1]},
        {"sample": {"output": 3, "usage": [], "error": 7, "finish_reason": {}, "model": []}},
        {"sample": {"output": [{"content": [{"text": None}]}], "usage": {"prompt_tokens": -1}}},
        {"datasource_item_id": "x", "id": None, "created_at": "soon"},
    ],
)
def test_values_of_wrong_types_never_end_an_import(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    item = {**output_item("evalrun_a", 0, "a"), **changes}
    found = bring(tmp_path, written(tmp_path / "all.jsonl", [*OBJECTS, item]))
    _, _, (result,) = found.round()
    assert result.state in ("scored", "errored", "unanswered")
    assert result.usage is None or result.usage.prompt_tokens >= 0


@pytest.mark.parametrize(
    "changes",
    [
        {"name": None, "testing_criteria": None},
        {
            "testing_criteria": [
                None,
                3,
                {"type": ["x"]},
                {"type": "string_check", "name": {"a": 1}},
            ]
        },
        {
            "testing_criteria": [
                {"type": "multi", "name": "m", "graders": 1, "calculate_output": []}
            ]
        },
    ],
)
def test_a_strange_definition_still_makes_a_round(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    objects = [{**EVAL, **changes}, OBJECTS[1], output_item("evalrun_a", 0, "a")]
    found = bring(tmp_path, written(tmp_path / "all.jsonl", objects))
    assert found.kept.evals == ()
    assert len(found.round()[2]) == 1


def test_names_reach_no_path_and_no_line_of_the_file(tmp_path: Path) -> None:
    evil = {**EVAL, "name": "../../x\n[models]\x00\x1b[31m" + "y" * 300}
    evil["testing_criteria"] = [
        *EVAL["testing_criteria"],
        {"type": "no\nname = 1", "name": "\n[x]"},
    ]
    objects = [evil, OBJECTS[1], output_item("evalrun_a", 0, "a")]
    found = bring(tmp_path, written(tmp_path / "all.jsonl", objects))
    (path,) = found.kept.evals
    assert path.parent == tmp_path / "out"
    assert len(found.spec.name) <= 100
    assert "\x1b" not in path.read_text()
    assert found.spec.models[0].model == "m"
    assert found.kept.rounds[0].is_relative_to(tmp_path / "home" / "evals")


def test_text_of_every_kind_survives(tmp_path: Path) -> None:
    text = 'é 😀 \x00 \u2028 "quotes" \\ \r\n {{ item.label }} {% x %} \'\'\' """'
    item = output_item("evalrun_a", 0, text)
    item["datasource_item"]["text"] = text
    strange = {
        **EVAL,
        "testing_criteria": [{**EVAL["testing_criteria"][0], "reference": 'a\r\n"""b'}],
    }
    found = bring(tmp_path, written(tmp_path / "all.jsonl", [strange, OBJECTS[1], item]))
    assert found.asked[0].messages[1]["content"] == f"Text: {text}"
    assert found.round()[2][0].output == text
    assert found.spec.evaluation.graders[0]["reference"] == 'a\r\n"""b'


def test_files_of_several_tools_come_in_together(tmp_path: Path) -> None:
    first = written(tmp_path / "all.jsonl", [*OBJECTS, output_item("evalrun_a", 0, "a")])
    tests = [{"vars": {"q": "x"}, "assert": [{"type": "is-json"}]}]
    config = {"prompts": ["{{q}}"], "providers": [], "tests": tests}
    second = written(tmp_path / "config.json", config)
    third = written(tmp_path / "unknown.json", {"x": 1})
    found = bring(tmp_path, first, second, third)
    assert sorted(path.name for path in found.kept.evals) == ["config.toml", "ticket-labels.toml"]
    assert any("passed over" in gap and "unknown.json" in gap for gap in found.gaps)


def test_a_tool_of_no_known_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="inspect_log"):
        bring(tmp_path, written(tmp_path / "a.json", EVAL), tool="deepeval")
