"""promptfoo's configs become evals; files that they name are read inside their own folder only."""

from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.interchange.bringing import bring, written

from selftune.core.errors import InvalidInput

CONFIG = """\
description: Capitals
prompts: ["Capital of {{country}}?"]
providers:
  - openai:chat:gpt-4o-mini
  - id: openai:gpt-4o
    label: large
    config: {temperature: 0.3, max_tokens: 20, apiBaseUrl: "https://proxy.example/v1", apiKey: sk-1}
  - anthropic:messages:claude
defaultTest:
  vars: {tone: brief}
  assert: [{type: contains, value: "{{country}}", metric: names}]
tests:
  - vars: {country: France}
    assert: [{type: icontains, value: Paris}]
  - vars: {country: Japan, tone: yes}
    assert: [{type: icontains, value: Tokyo}]
"""


def config(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "promptfooconfig.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def with_tests(folder: Path, tests: Any, **more: Any) -> Path:
    usual = {"prompts": ["{{q}}"], "providers": ["openai:gpt-4o"]}
    return written(folder / "config.json", {**usual, "tests": tests, **more})


def test_prompts_tests_and_models_become_an_eval(tmp_path: Path) -> None:
    found = bring(tmp_path, config(tmp_path, CONFIG))
    spec = found.spec
    assert spec.name == "Capitals"
    assert [item.messages[-1]["content"] for item in found.asked] == [
        "Capital of France?",
        "Capital of Japan?",
    ]
    assert [item.item["tone"] for item in found.asked] == ["brief", "yes"]
    assert [grader["name"] for grader in spec.evaluation.graders] == ["names", "icontains"]
    assert spec.evaluation.graders[1]["reference"] == "{{ item.expected }}"
    assert [item.item["expected"] for item in found.asked] == ["Paris", "Tokyo"]


def test_only_providers_of_openais_api_are_models_and_no_key_is_copied(tmp_path: Path) -> None:
    found = bring(tmp_path, config(tmp_path, CONFIG))
    first, large = found.spec.models
    assert (first.model, first.base_url) == ("gpt-4o-mini", "https://api.openai.com/v1")
    assert (large.name, large.model) == ("large", "gpt-4o")
    assert large.base_url == "https://proxy.example/v1"
    assert large.sampling == {"temperature": 0.3, "max_tokens": 20}
    assert "sk-1" not in found.kept.evals[0].read_text()
    assert any("anthropic:messages:claude" in gap for gap in found.gaps)
    assert any("https://proxy.example/v1" in gap for gap in found.gaps)


def test_an_assertion_without_counterpart_is_named_with_its_place(tmp_path: Path) -> None:
    tests = [
        {"vars": {"q": "a"}, "assert": [{"type": "contains", "value": "x"}, {"type": "latency"}]}
    ]
    found = bring(tmp_path, with_tests(tmp_path, tests))
    assert len(found.spec.evaluation.graders) == 1
    (gap,) = found.gaps
    assert "assertion 'latency'" in gap
    assert "config.json: tests[1].assert[2]" in gap
    assert gap in found.kept.evals[0].read_text()


def test_tests_that_are_judged_differently_become_evals_of_their_own(tmp_path: Path) -> None:
    tests = [
        {"vars": {"q": "a"}, "assert": [{"type": "contains", "value": "x"}]},
        {"vars": {"q": "b"}, "assert": [{"type": "is-json"}]},
        {"vars": {"q": "c"}, "assert": [{"type": "contains", "value": "y"}]},
    ]
    found = bring(tmp_path, with_tests(tmp_path, tests))
    assert [path.name for path in found.kept.evals] == ["config.toml", "config-part-2.toml"]
    assert [row["item"]["q"] for row in found.rows] == ["a", "c"]


def test_each_prompt_is_an_eval_of_the_same_items(tmp_path: Path) -> None:
    chat = '[{"role": "system", "content": "Be {{tone}}."}, {"role": "user", "content": "{{q}}"}]'
    tests = [{"vars": {"q": "a", "tone": "kind"}, "assert": [{"type": "contains", "value": "x"}]}]
    prompts = ["{{q}}", {"label": "toned", "raw": chat}]
    found = bring(tmp_path, with_tests(tmp_path, tests, prompts=prompts))
    assert [path.name for path in found.kept.evals] == ["config-prompt-1.toml", "config-toned.toml"]
    plain, toned = (path.read_text() for path in found.kept.questions)
    assert "Be kind." in toned
    assert plain.split('"id": "')[1][:16] == toned.split('"id": "')[1][:16]


def test_a_prompt_with_logic_is_refused_by_name(tmp_path: Path) -> None:
    tests = [{"vars": {"q": "a"}, "assert": [{"type": "contains", "value": "x"}]}]
    prompts = ["{% if q %}{{q}}{% endif %}", "{{ q | upper }}", "{{ env.HOME }}", "{{q}}"]
    found = bring(tmp_path, with_tests(tmp_path, tests, prompts=prompts))
    assert len(found.kept.evals) == 1
    assert sum("prompt:" in gap for gap in found.gaps) == 3
    assert str(Path.home()) not in found.kept.evals[0].read_text()


def test_variables_that_are_lists_become_all_combinations(tmp_path: Path) -> None:
    tests = [{"vars": {"q": ["a", "b"], "z": [1, 2]}, "assert": [{"type": "equals", "value": "x"}]}]
    found = bring(tmp_path, with_tests(tmp_path, tests, prompts=["{{q}}{{z}}"]))
    assert [item.messages[0]["content"] for item in found.asked] == ["a1", "a2", "b1", "b2"]


def test_a_chat_in_a_variable_is_a_chat(tmp_path: Path) -> None:
    chat = '[{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]'
    tests = [{"vars": {"q": chat}, "assert": [{"type": "equals", "value": "x"}]}]
    found = bring(tmp_path, with_tests(tmp_path, tests))
    assert [message["role"] for message in found.asked[0].messages] == ["system", "user"]


def test_a_threshold_over_weights_becomes_a_formula(tmp_path: Path) -> None:
    asserts = [{"type": "contains", "value": "x", "weight": 3}, {"type": "is-json"}]
    tests = [{"vars": {"q": "a"}, "assert": asserts, "threshold": 0.7}]
    (grader,) = bring(tmp_path, with_tests(tmp_path, tests)).spec.evaluation.graders
    assert grader["type"] == "multi"
    assert grader["calculate_output"] == "(3 * part_1 + 1 * part_2) / 4"
    assert grader["pass_threshold"] == 0.7


def test_a_threshold_over_a_missing_assertion_leaves_the_test_out(tmp_path: Path) -> None:
    asserts = [{"type": "contains", "value": "x"}, {"type": "cost"}]
    tests = [
        {"vars": {"q": "a"}, "assert": asserts, "threshold": 0.5},
        {"vars": {"q": "b"}, "assert": asserts[:1]},
    ]
    found = bring(tmp_path, with_tests(tmp_path, tests))
    assert [row["item"]["q"] for row in found.rows] == ["b"]
    assert any("left out 1 row: it passes by a threshold" in gap for gap in found.gaps)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ({"vars": {"q": "a"}, "options": {"transform": "x"}}, "`options.transform`"),
        ({"vars": {"q": "a"}, "providerOutput": "x"}, "`providerOutput`"),
        ({"vars": {"q": {"a": 1}}}, "is a list or an object"),
        ({"vars": {"other": "a"}}, "is not there"),
        ({"vars": {"q": "file://../secret.txt"}}, "outside the folder"),
        ({"vars": {"q": "file:///etc/hostname"}}, "outside the folder"),
        ({"vars": {"q": "file://make.py"}}, "is a program or unknown"),
        ("oops", "not a file of tests"),
        (7, "not an object"),
    ],
)
def test_a_test_that_cannot_be_asked_is_left_out_with_a_reason(
    tmp_path: Path, test: Any, words: str
) -> None:
    good = {"vars": {"q": "good"}, "assert": [{"type": "equals", "value": "x"}]}
    if isinstance(test, dict):
        test["assert"] = good["assert"]
    folder = tmp_path / "inner"
    (tmp_path / "secret.txt").write_text("secret")
    found = bring(tmp_path, with_tests(folder, [test, good]))
    assert [row["item"]["q"] for row in found.rows] == ["good"]
    assert any(words in gap for gap in found.gaps)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.csv").write_text("q\nsecret\n")
    (folder / "tests.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(InvalidInput, match="outside the folder"):
        bring(tmp_path, with_tests(folder, "file://tests.csv"))


@pytest.mark.parametrize("form", ["file://tests.csv", ["tests.csv"], "file://tests.jsonl"])
def test_tests_come_from_files_beside_the_config(tmp_path: Path, form: Any) -> None:
    (tmp_path / "tests.csv").write_text('q,__expected,__description\n"a, b",icontains: X,d\n')
    written(
        tmp_path / "tests.jsonl",
        [{"vars": {"q": "a, b"}, "assert": [{"type": "icontains", "value": "X"}]}],
    )
    found = bring(tmp_path, with_tests(tmp_path, form))
    assert found.asked[0].messages[0]["content"] == "a, b"
    assert found.spec.evaluation.graders[0]["operation"] == "ilike"
    assert found.spec.evaluation.graders[0]["reference"] == "X"


@pytest.mark.parametrize(
    ("cell", "kind", "value"),
    [
        ("Paris", "string_check", "Paris"),
        ("http://x.example: yes", "string_check", "http://x.example: yes"),
        ("contains:im", "string_check", "im"),
        ("starts-with: Li", "starts_with", "Li"),
        ("similar(0.9): x", "text_similarity", "x"),
    ],
)
def test_cells_of_expectations_are_read_as_promptfoo_reads_them(
    tmp_path: Path, cell: str, kind: str, value: str
) -> None:
    (tmp_path / "tests.csv").write_text(f'q,__expected\na,"{cell}"\n')
    (grader,) = bring(tmp_path, with_tests(tmp_path, "tests.csv")).spec.evaluation.graders
    assert grader["type"] == kind
    assert value in (grader.get("reference"), grader.get("phrase"))


def test_prompts_come_from_files_and_programs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("One: {{q}}\n---\nTwo: {{q}}\n")
    tests = [{"vars": {"q": "a"}, "assert": [{"type": "equals", "value": "x"}]}]
    prompts = ["file://p.txt", "file://p.py", "file://../up.txt"]
    found = bring(tmp_path, with_tests(tmp_path, tests, prompts=prompts))
    assert [path.read_text().count("prompt = ") for path in found.kept.evals] == [1, 1]
    assert sum("prompt:" in gap for gap in found.gaps) == 2


def test_words_of_yaml_mean_what_promptfoo_reads(tmp_path: Path) -> None:
    text = """\
prompts: ["{{a}} {{b}} {{c}} {{d}} {{e}}"]
providers: [openai:gpt-4o]
tests:
  - vars: {a: yes, b: 012, c: 0o17, d: true, e: 2024-01-01}
    assert: [{type: equals, value: off}]
"""
    found = bring(tmp_path, config(tmp_path, text))
    assert found.asked[0].messages[0]["content"] == "yes 12 15 true 2024-01-01"
    assert found.spec.evaluation.graders[0]["reference"] == "off"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompts: [a]\ntests: &t [*t]\n", "nested deeper"),
        ("prompts: [a]\nprompts: [b]\n", "twice"),
        ("prompts: !!python/name:os.system x\ntests: []\n", "tag"),
        ("prompts: [", "not valid YAML"),
        ("prompts: a\x00b\n", "not valid YAML"),
    ],
)
def test_hostile_yaml_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        bring(tmp_path, config(tmp_path, text), tool="promptfoo")


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InvalidInput, match="more than"):
        bring(tmp_path, config(tmp_path, "\n".join(lines)), tool="promptfoo")
