"""Proofs of models whose truth is known: each verdict comes out as it must."""

import errno
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.evaluate.scripted import Scripted, said
from tests.made_tasks import write_rows
from typer.testing import CliRunner

from selftune.cli.main import app
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.settings import Settings
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.results import Result
from selftune.evaluate.verdict import Policy
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint
from selftune.models.own_catalog import set_replacement
from selftune.models.profiles import Profile
from selftune.rescue.proof.alike import said_by
from selftune.rescue.proof.page import proof_html, proof_markdown
from selftune.rescue.proof.plan import Choices
from selftune.rescue.proof.run import Proof, prove
from selftune.rescue.record.asking import Purse, RecordingHome
from selftune.rescue.record.prompts import Prompt
from selftune.rescue.record.recordings import find_recording
from selftune.rescue.record.run import Wanted, record

OLD = "ft:gpt-4o-mini-2024-07-18:acme:x:AbC"
ACCOUNT = Profile(name="openai", kind="openai", base_url="http://127.0.0.1:1/v1")
AT = Endpoint(model=OLD, profile=ACCOUNT)
LABELS = ("parcel", "refund", "plants", "jobs")
Rule = Callable[[int, random.Random], bool]
"""Whether a model is right about a question, by its number and dice of that very request."""


def share(right: float, salt: str = "") -> Rule:
    """Return a model that is right about a fixed share of all questions."""
    return lambda number, _: random.Random(f"{number}{salt}").random() < right


def noisy(right: float) -> Rule:
    """Return a model whose every answer is right by chance."""
    return lambda _, dice: dice.random() < right


def without(rule: Rule, lost: float) -> Rule:
    """Return a model that is wrong about a further share of all questions."""
    return lambda number, dice: rule(number, dice) and random.Random(-number).random() >= lost


class World(NamedTuple):
    """A home, and models that answer by rule."""

    settings: Settings
    models: dict[str, Rule]
    asked: list[Question]

    def answer(self, asked: Question) -> Answer:
        """Answer a question by the rule of its model."""
        self.asked.append(asked)
        model = str(asked.body["model"])
        if model == "judge":
            return said(asked, json.dumps({"explanation": "fine", "score": 5}))
        if model == "luna" and "temperature" in asked.body:
            words = "Unsupported value: 'temperature' does not support 0.7 with this model."
            return Answer(key=asked.key, status="rejected", reason=words)
        number = int(str(asked.body["messages"][-1]["content"]).split()[-1])
        dice = random.Random(f"{asked.key}{model}")
        right = self.models[model](number, dice)
        return said(asked, label(number) if right else "none")

    def recorded(
        self,
        n: int,
        repeats: int = 1,
        references: bool = True,
        heat: float = 0.7,
        of_eval: int = 0,
        turns: int = 1,
    ) -> None:
        """Record the old model on n questions, the first of them items of an eval.

        So many are one chat, as logs have it: each with all that was said before it.
        """
        found = [
            Prompt(
                messages=chat(at - at % turns, at),
                reference=label(at) if references else "",
                fields={"right": label(at)} if at < of_eval else {},
                source="made",
            )
            for at in range(n)
        ]
        wanted = Wanted(endpoint=AT, temperature=heat, repeats=repeats, logprobs=False)
        record(RecordingHome(self.settings, Purse()), OLD, found, wanted, Limits(concurrency=64))

    def proof(self, margin: float = 0.03, **chosen: Any) -> Proof:
        """Prove the model `new` beside the prompted `base`."""
        choices = Choices(**{"replacement": "new", "base": "base"} | chosen)
        return prove(self.settings, OLD, choices, Policy(margin=margin)).proof


def chat(first: int, last: int) -> tuple[dict[str, str], ...]:
    """Return a question after those before it, with their answers."""
    before = [
        {"role": role, "content": text}
        for at in range(first, last)
        for role, text in (("user", f"Question {at}"), ("assistant", label(at)))
    ]
    return (*before, {"role": "user", "content": f"Question {last}"})


def label(number: int) -> str:
    return LABELS[number % len(LABELS)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(Settings(home=tmp_path), {"base": share(0.4, "b")}, [])
    endpoint = Scripted(made.answer)
    opened = "selftune.prove.home.Home.open"
    monkeypatch.setattr(opened, lambda self, model, place, limits: endpoint.open(model, place))
    monkeypatch.setattr("selftune.prove.home.Home.embed", lambda self, texts: [[1.0]] * len(texts))
    return made


def test_an_equal_replacement_is_to_be_switched_to(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": without(share(0.9), 0.005)})
    world.recorded(400, repeats=2)
    found = world.proof()
    assert (found.conclusion.outcome, found.conclusion.status) == ("switch", 0)
    assert "a loss of 3 points is ruled out" in found.conclusion.words
    assert found.noise.moves == 0
    assert any(each.startswith("Prompted base: ") for each in found.conclusion.reasons)


def test_a_replacement_that_is_worse_by_ten_points_is_not(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": without(share(0.9), 0.11)})
    world.recorded(300, repeats=2)
    found = world.proof()
    assert (found.conclusion.outcome, found.conclusion.status) == ("keep", 1)
    gap = found.report.comparisons[0].difference
    assert gap is not None
    assert gap.value == pytest.approx(-0.1, abs=0.03)
    assert any("larger than that" in each for each in found.conclusion.reasons)


def test_where_prompting_is_as_good_tuning_is_advised_against(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9), "base": without(share(0.9), 0.005)})
    world.recorded(500)
    found = world.proof()
    assert (found.conclusion.outcome, found.conclusion.status) == ("do not tune", 0)
    assert "prompting is as good" in found.conclusion.words


def test_prompting_may_be_as_good_where_the_replacement_is_not(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": without(share(0.9), 0.2), "base": share(0.9)})
    world.recorded(200)
    found = world.proof()
    assert (found.conclusion.outcome, found.conclusion.status) == ("do not tune", 1)


def test_tuning_that_adds_more_than_the_margin_is_worth_it(world: World) -> None:
    world.models.update({OLD: share(0.8), "new": lambda number, dice: True, "base": share(0.8)})
    world.recorded(400)
    found = world.proof()
    assert found.conclusion.outcome == "switch"
    assert any("tuning adds to it" in each for each in found.conclusion.reasons)


def test_a_hosted_model_that_is_prompted_counts_as_prompting(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9), "luna": share(0.9)})
    world.recorded(500)
    found = world.proof(also=(("luna", None),))
    assert found.conclusion.outcome == "do not tune"
    assert "luna" in found.conclusion.words  # which takes no temperature


def test_too_few_prompts_say_how_many_more_and_that_many_do(world: World) -> None:
    world.models.update({OLD: noisy(0.85), "new": noisy(0.85)})
    world.recorded(40, repeats=2)
    few = world.proof(margin=0.05)
    assert (few.conclusion.outcome, few.conclusion.status) == ("more prompts", 3)
    more = few.conclusion.more_prompts
    assert more is not None
    assert f"{more:,} more prompts" in few.conclusion.words
    assert f"about {more:,} more questions would tell" in few.conclusion.reasons[0]
    assert 50 < more < 1000
    world.recorded(40 + 2 * more, repeats=2)
    assert world.proof(margin=0.05).conclusion.outcome == "switch"


def test_a_noisy_model_is_the_yardstick_of_its_replacement(world: World) -> None:
    world.models.update({OLD: noisy(0.8), "new": noisy(0.8)})
    world.recorded(500, repeats=2)
    found = world.proof(margin=0.06)
    assert found.conclusion.outcome == "switch"
    # Two runs of 500 answers that are right by chance, 0.8 each: 1.96 sqrt(2 * 0.16 / 500).
    assert found.noise.moves == pytest.approx(0.05, abs=0.004)
    own, other = found.alike[0], found.alike[1]
    assert (own.arm, other.arm) == ("recorded", "replacement")
    # The same by chance: both right, or both wrong.
    assert own.same.value == pytest.approx(0.68, abs=0.04)
    assert other.behind is not None
    assert other.behind.low < 0 < other.behind.high
    assert any("no larger than that" in each for each in found.conclusion.reasons)


def test_noise_at_temperature_0_is_seen_between_the_two_rounds(world: World) -> None:
    world.models.update({OLD: noisy(0.8), "new": noisy(0.8)})
    world.recorded(200, repeats=1, heat=0.0)
    assert world.proof().noise.moves == pytest.approx(1.96 * (2 * 0.16 / 200) ** 0.5, abs=0.02)
    world.recorded(200, repeats=1, heat=0.5)
    assert world.proof().noise.moves is None
    world.recorded(200, repeats=1, heat=0.0, references=False)
    assert world.proof().noise.moves is None  # what was said first is right by definition


def test_graders_that_nothing_passes_prove_nothing(world: World) -> None:
    world.models.update({OLD: share(0.01), "new": share(0.01)})
    world.recorded(300)
    found = world.proof()
    assert (found.conclusion.outcome, found.conclusion.status) == ("cannot tell", 3)
    assert "do not measure" in found.conclusion.words


def test_a_model_that_does_not_answer_is_not_judged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(200)
    answer = World.answer

    def failing(self: World, asked: Question) -> Answer:
        if asked.body["model"] == "new" and asked.key < "2":
            return Answer(key=asked.key, status="failed", reason="down")
        return answer(self, asked)

    monkeypatch.setattr(World, "answer", failing)
    scripted = Scripted(world.answer)
    opened = "selftune.prove.home.Home.open"
    monkeypatch.setattr(opened, lambda self, model, place, limits: scripted.open(model, place))
    found = world.proof()
    assert (found.conclusion.outcome, found.conclusion.status) == ("cannot tell", 3)
    assert "could be scored" in found.conclusion.words


def test_without_references_agreement_with_the_recording_is_what_counts(world: World) -> None:
    world.models.update({OLD: noisy(0.95), "new": noisy(0.6)})
    world.recorded(300, references=False)
    found = world.proof()
    assert found.measure == "the answer is the one that was recorded at temperature 0"
    assert found.conclusion.outcome == "keep"


def test_a_recorded_model_is_never_asked_again(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(50)
    before = len(world.asked)
    world.proof()
    assert all(asked.body["model"] != OLD for asked in world.asked[before:])
    again = len(world.asked)
    world.proof()
    assert len(world.asked) == again


def test_a_judge_says_of_each_model_how_good_its_answers_are(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.5)})
    world.recorded(40)
    found = world.proof(judge="judge")
    assert [each.judged.value for each in found.alike if each.judged] == [1.0, 1.0, 1.0]
    asked = [each for each in world.asked if each.body["model"] == "judge"]
    world.proof(judge="judge")
    assert asked == [each for each in world.asked if each.body["model"] == "judge"]
    assert "Reference" in str(asked[0].body["messages"])


def test_the_page_shows_the_conclusion_first_and_nothing_of_an_answer_raw(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(60)
    proof = world.proof(margin=0.2)
    hostile = "<script>alert(1)</script>"
    told = proof.conclusion.model_copy(update={"reasons": (hostile,)})
    page = proof_html(proof.model_copy(update={"conclusion": told}))
    assert hostile not in page
    assert "&lt;script&gt;" in page
    assert page.index("How alike the answers are") < page.index("Figures")
    assert proof.conclusion.words in proof_markdown(proof).replace("\\", "")
    assert Proof.model_validate_json(proof.model_dump_json()) == proof


def test_the_command_leaves_with_the_status_of_the_gate_and_writes_the_page(
    world: World, tmp_path: Path
) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(500)
    words = ["rescue", "prove", OLD, "--base", "base", "--margin", "0.03"]
    home = {"SELFTUNE_HOME": str(tmp_path)}
    missing = CliRunner().invoke(app, words, env=home)
    assert isinstance(missing.exception, NotFound)
    assert "has no replacement here" in missing.exception.message
    set_replacement(tmp_path, OLD, "new")
    done = CliRunner().invoke(app, [*words, "--json"], env=home)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["conclusion"]["outcome"] == "switch"
    report = done.stderr.split("report")[1].strip()
    assert Path(report).read_text("utf-8").startswith("<!doctype html>")
    shown = CliRunner().invoke(app, words, env=home)
    assert "Switch: the replacement is not worse" in shown.stdout
    world.models["bad"] = share(0.5)
    worse = CliRunner().invoke(app, [*words, "--replacement", "bad", "--markdown"], env=home)
    assert worse.exit_code == 1
    assert worse.stdout.startswith("**Keep the old model")


def test_an_answer_that_graders_compare_with_itself_proves_nothing(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(40, repeats=1)
    steady = find_recording(world.settings.root, OLD).steady
    assert steady is not None
    shutil.rmtree(steady.path)
    same = {"type": "string_check", "name": "same", "operation": "eq"}
    same |= {"input": "{{ sample.output_text }}", "reference": "{{ item.recorded }}"}
    assert "judged by itself" in world.proof(graders=(same,)).conclusion.words


def test_a_chat_that_was_logged_at_each_turn_counts_once(world: World) -> None:
    world.models.update({OLD: lambda number, _: True, "new": lambda number, _: number >= 10})
    world.recorded(200)
    assert world.proof(with_base=False).conclusion.outcome == "keep"
    world.recorded(200, turns=10)  # all ten that are lost are of one chat
    found = world.proof(with_base=False)
    assert found.report.arms[0].summary.accuracy.n == 200  # type: ignore[union-attr]
    assert found.conclusion.outcome == "more prompts"


def test_prompts_that_are_nearly_the_same_are_told_of_where_they_decide(world: World) -> None:
    """Of ten copies of each question, all fare alike."""
    words = random.Random(0).sample([f"{a}{b}" for a in "bdfgklmnprst" for b in "aeiou"], 60)

    def copied(at: int) -> tuple[dict[str, str], ...]:
        kind = " ".join(random.Random(at // 10).sample(words, 20))
        return ({"role": "user", "content": f"{kind} {words[at % 10]} {at}"},)

    prompts = [Prompt(messages=copied(at), reference=label(at), source="made") for at in range(200)]
    world.models.update({OLD: lambda number, _: True, "new": lambda number, _: number >= 10})
    wanted = Wanted(endpoint=AT, temperature=0.7, repeats=1, logprobs=False)
    record(RecordingHome(world.settings, Purse()), OLD, prompts, wanted, Limits(concurrency=64))
    found = world.proof(margin=0.1, with_base=False)
    assert found.conclusion.outcome == "switch"
    assert found.conclusion.reasons[1].startswith("But 180 prompts share four words of five")
    assert "a loss of 10 points is not ruled out" in found.conclusion.reasons[1]


def test_one_of_several_prompted_models_must_be_surer_than_one_alone(world: World) -> None:
    def losing(count: int) -> Rule:
        return lambda number, _: number >= count

    world.models.update({OLD: losing(0), "new": losing(30), "base": losing(4), "luna": losing(60)})
    world.recorded(200)
    assert world.proof(margin=0.05).conclusion.outcome == "do not tune"
    several = world.proof(margin=0.05, also=(("luna", None),))
    assert several.conclusion.outcome == "keep"


def test_a_full_disk_is_told_and_no_name_reaches_the_terminal_raw(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "\x1b[31m[b]*<script>"
    world.models.update({OLD: share(0.9), "new": share(0.9), name: share(0.2)})
    world.recorded(20)
    words = ["rescue", "prove", OLD, "--replacement", "new", "--no-base", "--also", name]
    home = {"SELFTUNE_HOME": str(tmp_path)}
    for more in ([], ["--markdown"]):
        shown = CliRunner().invoke(app, [*words, *more], env=home)
        assert "\x1b" not in shown.output
        assert "<script>" not in shown.output or not more

    def write(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("selftune.rescue.proof.page.write_whole", write)
    stopped = CliRunner().invoke(app, words, env=home)
    assert stopped.exit_code == 3
    assert "No space left on device" in stopped.stderr


def test_graders_come_from_a_file(world: World, tmp_path: Path) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(40)
    set_replacement(tmp_path, OLD, "new")
    file = tmp_path / "graders.toml"
    file.write_text(
        '[[graders]]\ntype = "regex"\npattern = "^(parcel|refund)$"\n', encoding="utf-8"
    )
    words = ["rescue", "prove", OLD, "--base", "base", "--graders", str(file), "--json"]
    done = CliRunner().invoke(app, words, env={"SELFTUNE_HOME": str(tmp_path)})
    found = json.loads(done.stdout)
    assert found["measure"] == "the graders that were given"
    assert found["report"]["arms"][0]["summary"]["accuracy"]["value"] < 0.6


def test_prompts_that_lack_what_the_graders_read_are_left_out(world: World) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(60, of_eval=40)
    right = {"type": "string_check", "name": "right", "operation": "eq"}
    right |= {"input": "{{ sample.output_text }}", "reference": "{{ item.right }}"}
    found = world.proof(graders=(right,))
    assert found.report.arms[0].summary.accuracy.n == 40  # type: ignore[union-attr]
    words = "20 prompts are left out: the graders read right, which they do not have."
    assert words in found.notes
    assert found.conclusion.outcome != "cannot tell"
    with pytest.raises(InvalidInput, match="the graders read nothing_has"):
        world.proof(graders=(right | {"reference": "{{ item.nothing_has }}"},))


def test_another_prompt_is_asked_anew_though_the_proof_is_the_same_otherwise(
    world: World, tmp_path: Path
) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(20)
    for words in ("Hello", "Goodbye"):
        chat = [{"role": "user", "content": words}, {"role": "assistant", "content": "parcel"}]
        file = write_rows(tmp_path / "examples.jsonl", [{"messages": chat}])
        before = len(world.asked)
        world.proof(examples=file)
        shown = [each for each in world.asked[before:] if words in str(each.body["messages"])]
        assert len(shown) == 20


def test_prompts_show_no_example_that_answers_what_is_asked(world: World, tmp_path: Path) -> None:
    world.models.update({OLD: share(0.9), "new": share(0.9)})
    world.recorded(4)
    chats = [[*chat(at, at), {"role": "assistant", "content": label(at)}] for at in range(8)]
    file = write_rows(tmp_path / "examples.jsonl", [{"messages": each} for each in chats])
    world.proof(examples=file, n_examples=3)
    base = [each.body["messages"] for each in world.asked if each.body["model"] == "base"]
    shown = {each["content"] for messages in base for each in messages[:-1]}
    assert shown == {"Question 4", "Question 5", "Question 6", *LABELS[:3]}


def test_answers_are_read_in_the_order_in_which_they_were_asked() -> None:
    results = [
        Result(index=2 - at // 2, item=f"i{at // 2}", arm="a", sample=1 - at % 2, state="scored", output=str(at))
        for at in range(4)
    ]  # fmt: skip
    assert said_by(results) == {"a": {"i1": ["3", "2"], "i0": ["1", "0"]}}
