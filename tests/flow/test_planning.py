"""Plans: learning curves and searches, with the fake engine, which learns its rows by heart."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from selftune import planning, workflow
from selftune.core.errors import Conflict, InvalidInput, JobFailed
from selftune.core.records import Job
from selftune.core.runfile import load_run_file
from selftune.core.settings import child_environment, load_settings
from selftune.evaluate.curve.report import to_json
from selftune.jobs.queue import JobQuery, claim, get_job, list_jobs
from selftune.planning import runs
from selftune.planning.log import Run
from selftune.planning.validation import hold_out
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.files import list_files
from selftune.store.models import list_models
from selftune.store.owners import this_process
from selftune.store.store import Store, open_store
from selftune.train.create import KIND
from selftune.train.engines.fake import PACE_VARIABLE
from selftune.worker import run_child

RUN_FILE = """
name = "../Planned <b>"
[data]
training_file = "train.jsonl"
test_file = "test.jsonl"
[model]
base = "selftune/fake"
[evaluation]
prompt = "{{ item.question }}"
[[evaluation.graders]]
type = "string_check"
operation = "eq"
input = "{{ sample.output_text }}"
reference = "{{ item.answer }}"
"""
SIZES = (12, 24, 48, 96)
CURVE = planning.CurveOptions(sizes=SIZES, seeds=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(load_settings(home=tmp_path / "home"))


@pytest.fixture(autouse=True)
def trained_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run jobs in this process, which is quicker; tests marked slow start children as users do."""

    def run_here(store: Store, job_id: str, project_id: str, each: Callable[[Job], None]) -> Job:
        claimed = claim(store, this_process(), only=job_id)
        assert claimed is not None
        run_child(store, job_id, claimed[1].token)
        job = get_job(store, project_id, job_id)
        each(job)
        return job

    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(runs, "run_until_done", run_here)


def write(folder: Path, run_file: str = RUN_FILE, rows: int = 96, labels: int = 8) -> Path:
    """Write 96 chats with eight answers, and ask every other one of them."""
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"question {'abcdefgh'[n % 8]}{n * n} of many"},
                {"role": "assistant", "content": f"label {n % labels}"},
            ]
        }
        for n in range(rows)
    ]
    tests = [
        {"question": chat["messages"][0]["content"], "answer": chat["messages"][1]["content"]}
        for chat in chats[::2]
    ]
    for name, lines in (("train.jsonl", chats), ("test.jsonl", tests)):
        text = "\n".join(json.dumps(line) for line in lines)
        (folder / name).write_text(text, encoding="utf-8")
    path = folder / "run.toml"
    path.write_text(run_file, encoding="utf-8")
    return path


def jobs(store: Store) -> list[Job]:
    return list(list_jobs(store, DEFAULT_PROJECT, KIND, JobQuery(limit=100)).data)


class Heard(planning.Progress):
    """Remembers which runs were new."""

    def __init__(self) -> None:
        self.new: list[int] = []
        self.old: list[int] = []

    def finished(self, run: Run, *, is_new: bool) -> None:
        (self.new if is_new else self.old).append(run.rows)


def test_a_curve_trains_nested_sizes_and_asks_the_same_questions(
    store: Store, tmp_path: Path
) -> None:
    report = planning.plan_curve(write(tmp_path), CURVE, store=store)
    assert [size.rows for size in report.sizes] == list(SIZES)
    assert report.items == 48
    # What was learned by heart is answered: an eighth of the rows, a quarter, a half, all.
    values = [size.value.value for size in report.sizes]
    assert values == pytest.approx([0.125, 0.25, 0.5, 1.0], abs=0.08)
    assert values == sorted(values)
    assert [len(size.runs) for size in report.sizes] == [2, 2, 2, 2]
    assert report.sizes[-1].runs == (1.0, 1.0)
    tokens = [size.bill.tokens or 0 for size in report.sizes]
    assert tokens[3] == pytest.approx(8 * tokens[0], rel=0.05)
    assert report.sizes[0].bill.dollars == 0.0  # this machine bills nobody
    assert report.outlooks[1].forecast.rows == 960


def test_what_was_trained_once_is_not_trained_again(store: Store, tmp_path: Path) -> None:
    path, heard = write(tmp_path), Heard()
    first = planning.plan_curve(path, CURVE, store=store, progress=heard)
    assert (heard.new, heard.old) == ([12, 24, 48, 96, 12, 24, 48, 96], [])
    count = len(jobs(store))
    again, more = Heard(), Heard()
    second = planning.plan_curve(path, CURVE, store=store, progress=again)
    assert (again.new, len(jobs(store))) == ([], count)
    assert to_json(first) == to_json(second)
    wider = CURVE.model_copy(update={"sizes": (*SIZES, 72)})
    planning.plan_curve(path, wider, store=store, progress=more)
    assert more.new == [72, 72]


def test_other_data_are_other_runs(store: Store, tmp_path: Path) -> None:
    options = planning.CurveOptions(sizes=(12, 96), seeds=1)
    path, heard = write(tmp_path), Heard()
    planning.plan_curve(path, options, store=store)
    write(tmp_path, labels=6)
    planning.plan_curve(path, options, store=store, progress=heard)
    assert heard.new == [12, 96]


def test_a_plan_leaves_its_results_and_neither_models_nor_files(
    store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path)
    planning.plan_curve(path, CURVE, store=store)
    assert list_models(store, DEFAULT_PROJECT) == ()
    purposes = {file.purpose for file in list_files(store, DEFAULT_PROJECT).data}
    assert purposes == {"fine-tune-results"}
    assert list(store.folder("models").iterdir()) == []
    # The name of the run file reaches no path as it is.
    [folder] = (store.root / "plans").iterdir()
    assert folder.name == "planned-b"
    other = CURVE.model_copy(update={"sizes": (20, 40), "keep_models": True})
    planning.plan_curve(path, other, store=store)
    assert len(list_models(store, DEFAULT_PROJECT)) == 4


def test_a_run_whose_records_were_removed_is_made_again(store: Store, tmp_path: Path) -> None:
    path, heard = write(tmp_path), Heard()
    options = planning.CurveOptions(sizes=(12, 96), seeds=1)
    first = planning.plan_curve(path, options, store=store)
    (store.root / "plans" / "planned-b" / "runs.jsonl").unlink()
    second = planning.plan_curve(path, options, store=store, progress=heard)
    assert heard.new == [12, 96]
    assert [size.runs for size in first.sizes] == [size.runs for size in second.sizes]


def test_a_record_that_was_cut_is_taken_off(store: Store, tmp_path: Path) -> None:
    path, heard = write(tmp_path), Heard()
    options = planning.CurveOptions(sizes=(12, 96), seeds=1)
    planning.plan_curve(path, options, store=store)
    kept = store.root / "plans" / "planned-b" / "runs.jsonl"
    kept.write_bytes(kept.read_bytes()[:-40])
    planning.plan_curve(path, options, store=store, progress=heard)
    assert (heard.old, heard.new) == ([12], [96])
    kept.write_text("what is this\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 1 is not a run of a plan"):
        planning.plan_curve(path, options, store=store)


def test_two_plans_of_one_name_do_not_run_at_once(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path)

    class Greedy(planning.Progress):
        def finished(self, run: Run, *, is_new: bool) -> None:
            del run, is_new
            planning.plan_curve(path, CURVE, store=store)

    with pytest.raises(Conflict, match="in use"):
        planning.plan_curve(path, CURVE, store=store, progress=Greedy())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": (9, 50)}, "9 rows are too few"),
        ({"sizes": (50, 97)}, "no subset of 97 rows: there are 96"),
        ({"sizes": (50, 50)}, "two sizes at the least"),
        ({"sizes": (48, 96), "metric": "error"}, None),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_is_trained(
    store: Store, tmp_path: Path, options: dict[str, object], words: str | None
) -> None:
    given = planning.CurveOptions.model_validate(options | {"seeds": 1})
    if words is None:  # 1 and 0 are errors as good as any: less is better, says the user
        assert planning.plan_curve(write(tmp_path), given, store=store).sizes[0].value.value < 1
        return
    with pytest.raises(InvalidInput, match=words):
        planning.plan_curve(write(tmp_path), given, store=store)
    assert jobs(store) == []


def test_graders_that_judge_nothing_end_a_plan(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path, RUN_FILE.replace("{{ item.answer }}", "{{ item.nothing }}"))
    with pytest.raises(InvalidInput, match=r"No answer could be scored: .*nothing"):
        planning.plan_curve(path, CURVE, store=store)


def test_a_training_that_fails_says_which_job(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path)
    lines = (tmp_path / "train.jsonl").read_text(encoding="utf-8").replace('"user"', '"nobody"')
    (tmp_path / "train.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(JobFailed, match="See `selftune jobs show ftjob-"):
        planning.plan_curve(path, CURVE, store=store)


def plan_in_a_child(home: Path, path: Path, pace: float) -> subprocess.Popen[bytes]:
    arguments = ["plan", "curve", str(path), "--sizes", "12,24,48", "--seeds", "1", "--json"]
    settings = load_settings(home=home, lease_seconds=1)
    return subprocess.Popen(
        [sys.executable, "-m", "selftune", *arguments],
        env=child_environment(settings) | {PACE_VARIABLE: str(pace)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_plan_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    path, home = write(tmp_path), tmp_path / "home"
    kept = home / "plans" / "planned-b" / "runs.jsonl"
    child = plan_in_a_child(home, path, pace=0.15)
    end = time.monotonic() + 60
    while time.monotonic() < end and not (kept.exists() and kept.read_bytes()):
        time.sleep(0.02)
    time.sleep(0.5)  # into the second run
    child.send_signal(signal.SIGKILL)
    child.communicate()
    store = open_store(load_settings(home=home, lease_seconds=1))
    begun = {job.id for job in jobs(store)}
    assert len(kept.read_bytes().splitlines()) == 1
    assert len(begun) == 2
    again = plan_in_a_child(home, path, pace=0.0)
    found, _ = again.communicate(timeout=120)
    assert again.returncode == 0
    # The run that was under way went on; none was begun twice.
    assert len(jobs(store)) == 3
    assert begun < {job.id for job in jobs(store)}
    whole = planning.plan_curve(
        path,
        planning.CurveOptions(sizes=(12, 24, 48), seeds=1),
        store=open_store(load_settings(home=tmp_path / "other")),
    )
    values = [size["runs"] for size in json.loads(found)["sizes"]]
    assert values == [list(size.runs) for size in whole.sizes]


def test_a_search_keeps_auto_where_nothing_is_better(store: Store, tmp_path: Path) -> None:
    heard = Heard()
    options = planning.SearchOptions(trials=4)
    report = planning.plan_search(write(tmp_path), options, store=store, progress=heard)
    assert [trial.number for trial in report.trials] == [0, 1, 2, 3]
    assert report.trials[0].asked.n_epochs == "auto"
    assert len({trial.asked for trial in report.trials}) == 4
    assert report.choice.keep_auto
    assert report.choice.words == "Keep auto: no other trial was better (3 tried)."
    assert 'n_epochs = "auto"' in report.run_file_lines
    assert report.stopped == "4 trials were asked for"
    again = Heard()
    planning.plan_search(tmp_path / "run.toml", options, store=store, progress=again)
    assert (len(heard.new), again.new) == (4, [])


def test_a_search_never_opens_the_test_file(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "test.jsonl").unlink()
    report = planning.plan_search(path, planning.SearchOptions(trials=2), store=store)
    assert report.items == 19  # a fifth of the 96 training rows
    assert "holds out no validation rows" in report.notes[0]
    # The graders look for a field that only test rows have: the rows' own answers judge.
    assert "rows' own answers" in report.judged_by
    assert report.metric == "accuracy"
    with pytest.raises(InvalidInput, match=r"test\.jsonl"):
        planning.plan_curve(path, CURVE, store=store)


@pytest.mark.parametrize("validation", ["", "validation_fraction = 0.25"])
def test_rows_that_would_be_tested_are_neither_trained_on_nor_asked(
    tmp_path: Path, validation: str
) -> None:
    held_out = RUN_FILE.replace('test_file = "test.jsonl"', validation)
    path = write(tmp_path, held_out.replace("item.answer", "item.reference"))
    spec = load_run_file(path)
    held, prepared = hold_out(spec, tmp_path), workflow.prepare(spec, tmp_path)
    asked = {json.dumps(item.messages[-1]) for item in held.items}
    trained = {json.dumps(row["messages"][0]) for row in held.training}
    tested = {json.dumps(item.messages[-1]) for item in prepared.items}
    assert len(tested) >= 15
    assert asked.isdisjoint(tested)
    assert trained.isdisjoint(tested)
    assert asked.isdisjoint(trained)
    assert len(asked | trained | tested) == 96


def test_a_search_stops_before_its_budget_is_spent(store: Store, tmp_path: Path) -> None:
    options = planning.SearchOptions(budget_minutes=1e-6)
    report = planning.plan_search(write(tmp_path), options, store=store)
    assert len(report.trials) == 1
    assert report.stopped == "the budget of 1e-06 minutes has no time for another trial"
    assert report.choice.words == "Keep auto: nothing else was tried."


def test_the_run_files_own_settings_are_tried(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path, RUN_FILE + "\n[hyperparameters]\nn_epochs = 7\n")
    report = planning.plan_search(path, planning.SearchOptions(trials=2), store=store)
    assert [trial.asked.n_epochs for trial in report.trials] == ["auto", 7]


def test_a_command_without_its_numbers_is_refused_in_words(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "selftune", "plan", "curve", "x.toml", "--sizes", "50,many"],
        env=child_environment(load_settings(home=tmp_path)) | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "'many' is no number of rows" in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_embedded_model_learns_prices_from_more_rows(store: Store, tmp_path: Path) -> None:
    folder = shutil.copytree(Path(__file__).parents[2] / "examples" / "prices", tmp_path / "prices")
    example = folder / "run.toml"  # with fewer rows than it has: 60 are asked after each training
    text = example.read_text("utf-8")
    example.write_text(text.replace("test_fraction", "limit = 300\ntest_fraction"), "utf-8")
    options = planning.CurveOptions(
        sizes=(20, 60, 180), seeds=1, metric="error", target=10.0, priced_as="gpt-4o-mini"
    )
    report = planning.plan_curve(example, options, store=store)
    errors = [size.value.value for size in report.sizes]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.5 * errors[-1]
    # One run of three sizes is no ground for a forecast, and it is said.
    assert "Three sizes for three parameters" in report.words
    assert any("Nothing tells how far runs scatter" in doubt for doubt in report.doubts)
    assert report.outlooks[0].forecast.error.low is None
    assert (report.outlooks[1].bill.dollars or 0) > 5 * (report.sizes[-1].bill.dollars or 1)
