"""Rounds over time: compared where they asked the same, marked where they did not."""

from pathlib import Path

from tests.evaluate.made_rounds import Score, scored_round

from selftune.evaluate.history import Past, history


def kept(
    folder: Path, name: str, day: int, scores: dict[str, list[Score]], kind: str = "i", **more: str
) -> None:
    n = len(next(iter(scores.values())))
    columns = {"id": [f"{kind}{at}" for at in range(n)]}
    path = folder / "rounds" / name
    scored_round(path, scores, columns, created_at=1_790_000_000 + 86_400 * day, **more)


def outcomes(found: tuple[Past, ...]) -> list[tuple[str, str | None, str | None]]:
    return [(past.id, arm.against, arm.outcome) for past in found for arm in past.arms]


def test_each_round_is_compared_with_the_one_before_on_the_same_questions(tmp_path: Path) -> None:
    kept(tmp_path, "third", 3, {"m": [1.0] * 20})
    kept(tmp_path, "first", 1, {"m": [0.0] * 20})
    kept(tmp_path, "other", 2, {"m": [1.0] * 20}, kind="j")
    found = history(tmp_path)
    assert outcomes(found) == [
        ("first", None, None),
        ("other", None, None),
        ("third", "first", "better"),
    ]
    assert [past.has_other_items for past in found] == [False, True, True]
    assert found[2].arms[0].accuracy is not None
    assert found[2].arms[0].points == 20
    assert "better" in found[2].arms[0].words


def test_a_round_that_was_stopped_is_shown_and_is_no_baseline(tmp_path: Path) -> None:
    kept(tmp_path, "a", 1, {"m": [0.0] * 20})
    kept(tmp_path, "b", 2, {"m": [None] * 20}, status="stopped")
    kept(tmp_path, "c", 3, {"m": [1.0] * 20})
    found = history(tmp_path)
    assert [past.status for past in found] == ["completed", "stopped", "completed"]
    assert outcomes(found)[2] == ("c", "a", "better")
    assert found[1].arms[0].accuracy is None


def test_models_that_were_trained_again_are_compared_by_their_place(tmp_path: Path) -> None:
    kept(tmp_path, "a", 1, {"base": [0.0] * 20, "ft:1": [0.0] * 20})
    kept(tmp_path, "b", 2, {"base": [0.0] * 20, "ft:2": [1.0] * 20})
    found = history(tmp_path)
    assert outcomes(found)[2:] == [("b", "a", "cannot tell"), ("b", "a", "better")]


def test_a_damaged_round_does_not_hide_the_others(tmp_path: Path) -> None:
    kept(tmp_path, "a", 1, {"m": [0.0] * 20})
    kept(tmp_path, "b", 2, {"m": [0.0] * 20})
    kept(tmp_path, "c", 3, {"m": [1.0] * 20})
    (tmp_path / "rounds" / "b" / "results.jsonl").write_text("{}\n", encoding="utf-8")
    found = history(tmp_path)
    assert "line 1" in found[1].problem
    assert found[1].arms == ()
    assert outcomes(found)[1] == ("c", "a", "better")


def test_an_eval_that_was_never_run_has_no_history(tmp_path: Path) -> None:
    assert history(tmp_path) == ()


def test_a_round_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    kept(tmp_path, "a", 1, {"m": [1.0] * 5})
    kept(tmp_path, "b", 2, {"m": [1.0] * 5})
    (tmp_path / "rounds" / "a" / "round.json").write_bytes(b"")
    damaged, sound = history(tmp_path)
    assert (damaged.id, damaged.status) == ("a", "damaged")
    assert "Delete its folder" in damaged.problem
    assert (sound.id, sound.problem) == ("b", "")
