"""inspect_ai's logs become rounds, without inspect_ai; damaged archives are refused by name."""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.evaluate.interchange.bringing import bring, written

from selftune.core.errors import InvalidInput

ZSTD = 93


def sample(id: Any, epoch: int, output: str, value: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "epoch": epoch,
        "input": f"Capital of {id}?",
        "target": ["Paris"],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"Capital of {id}?", "source": "input"},
            {"role": "assistant", "content": output, "source": "generate"},
        ],
        "output": {
            "model": "gpt-4o-2024-08-06",
            "choices": [{"message": {"content": output}, "stop_reason": "stop"}],
            "completion": output,
            "usage": {"input_tokens": 9, "output_tokens": 2, "input_tokens_cache_read": 5},
            "time": 0.5,
        },
        "scores": {"includes": {"value": value, "explanation": "seen"}},
        "metadata": {"continent": "Europe"},
        **more,
    }


def log(*samples: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": "e1",
            "task": "capitals",
            "model": "openai/gpt-4o",
            "created": "2026-04-01T12:00:00+00:00",
            "dataset": {"sample_ids": ["France", "Japan"]},
            "config": {"epochs": 2},
            "scorers": [{"name": "includes", "options": {}}],
            "model_generate_config": {"temperature": 0.5},
        },
        "stats": {"completed_at": "2026-04-01T12:01:00+00:00"},
        "samples": list(samples),
        **more,
    }


def packed(path: Path, members: dict[str, bytes], *, zstd: bool = True) -> Path:
    """Write an archive, its members packed with Zstandard, which zipfile cannot write itself."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if not zstd:
                archive.writestr(name, content)
                continue
            squeezed = zstandard.compress(content)
            info = zipfile.ZipInfo(name)
            archive.writestr(info, squeezed)
    if zstd:
        _relabel(path, members)
    return path


def _relabel(path: Path, members: dict[str, bytes]) -> None:
    """Say of stored members that they are packed: method, checksum and size of what is inside."""
    whole = bytearray(path.read_bytes())
    for name, content in members.items():
        local = whole.find(b"PK\x03\x04")
        crc = zipfile.zlib.crc32(content)  # type: ignore[attr-defined]
        while local >= 0:
            length = struct.unpack_from("<H", whole, local + 26)[0]
            if whole[local + 30 : local + 30 + length] == name.encode():
                struct.pack_into("<H", whole, local + 8, ZSTD)
                struct.pack_into("<L", whole, local + 14, crc)
                struct.pack_into("<L", whole, local + 22, len(content))
            local = whole.find(b"PK\x03\x04", local + 4)
        central = whole.find(b"PK\x01\x02")
        while central >= 0:
            length = struct.unpack_from("<H", whole, central + 28)[0]
            if whole[central + 46 : central + 46 + length] == name.encode():
                struct.pack_into("<H", whole, central + 10, ZSTD)
                struct.pack_into("<L", whole, central + 16, crc)
                struct.pack_into("<L", whole, central + 24, len(content))
            central = whole.find(b"PK\x01\x02", central + 4)
    path.write_bytes(bytes(whole))


def members(*samples: dict[str, Any]) -> dict[str, bytes]:
    header = {key: value for key, value in log().items() if key != "samples"}
    found = {"header.json": json.dumps(header).encode()}
    for each in samples:
        found[f"samples/{each['id']}_epoch_{each['epoch']}.json"] = json.dumps(each).encode()
    return found


SAMPLES = (
    sample("Japan", 1, "Tokyo", "I"),
    sample("France", 1, "Paris", "C"),
    sample("France", 2, "It is Paris", "C"),
    sample("Japan", 2, "Kyoto", "P"),
)


@pytest.mark.parametrize("kind", ["json", "zstd", "deflate"])
def test_a_log_of_either_form_becomes_a_round(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("log.json" if kind == "json" else "log.eval")
    if kind == "json":
        written(path, log(*SAMPLES))
    else:
        packed(path, members(*SAMPLES), zstd=kind == "zstd")
    record, items, results = bring(tmp_path, path).round()
    assert record.source == "inspect_ai"
    assert record.samples == 2
    assert [item.item["sample_id"] for item in items] == ["France", "Japan"]
    assert [(r.index, r.sample, r.value, r.passed) for r in results] == [
        (1, 0, 1.0, True),
        (2, 0, 0.0, False),
        (1, 1, 1.0, True),
        (2, 1, 0.5, False),
    ]


def test_tokens_time_and_reasons_are_kept(tmp_path: Path) -> None:
    _, _, results = bring(tmp_path, written(tmp_path / "log.json", log(*SAMPLES))).round()
    usage, timing = results[0].usage, results[0].timing
    assert usage is not None
    assert timing is not None
    assert (usage.prompt_tokens, usage.cached_tokens, timing.answering) == (14, 5, 0.5)
    assert results[0].scores[0].reason == "seen"
    assert results[0].model == "gpt-4o-2024-08-06"


def test_one_chat_with_an_includes_scorer_becomes_an_eval(tmp_path: Path) -> None:
    found = bring(tmp_path, written(tmp_path / "log.json", log(*SAMPLES)))
    (grader,) = found.spec.evaluation.graders
    assert (grader["operation"], grader["reference"]) == ("ilike", "{{ item.target }}")
    assert found.spec.evaluation.samples == 2
    assert found.spec.models[0].model == "gpt-4o"
    assert found.spec.models[0].sampling == {"temperature": 0.5}
    assert [message["role"] for message in found.asked[0].messages] == ["system", "user"]
    assert [item.id for item in found.asked] == [item.id for item in found.round()[1]]


def test_other_scorers_are_named_and_the_questions_are_kept(tmp_path: Path) -> None:
    whole = log(*SAMPLES)
    whole["eval"]["scorers"] = [{"name": "model_graded_qa"}]
    found = bring(tmp_path, written(tmp_path / "log.json", whole))
    assert found.kept.evals == ()
    assert len(found.rows) == 2
    assert any("scorer 'model_graded_qa'" in gap for gap in found.gaps)


def test_a_sample_with_tools_or_turns_is_in_the_round_only(tmp_path: Path) -> None:
    several = sample("Japan", 1, "Tokyo", "C")
    several["messages"].insert(2, {"role": "assistant", "content": "hm", "source": "generate"})
    found = bring(tmp_path, written(tmp_path / "log.json", log(SAMPLES[1], several)))
    assert [row["sample_id"] for row in found.rows] == ["France"]
    record, _, results = found.round()
    assert record.items == 2
    assert [result.timing is None for result in results] == [False, True]


def test_a_sample_that_failed_is_unanswered(tmp_path: Path) -> None:
    lost = sample("Japan", 1, "", "C", scores={}, error={"message": "timeout"})
    _, _, results = bring(tmp_path, written(tmp_path / "log.json", log(SAMPLES[1], lost))).round()
    assert [result.state for result in results] == ["scored", "unanswered"]
    assert results[1].reason == "timeout"


def test_values_of_every_kind_are_read_and_what_is_none_is_errored(tmp_path: Path) -> None:
    values = {"a": True, "b": "0.25", "c": "yes", "d": "N", "e": "who knows", "f": None}
    each = sample("France", 1, "Paris", values)
    _, _, results = bring(tmp_path, written(tmp_path / "log.json", log(each))).round()
    assert [score.value for score in results[0].scores] == [1.0, 0.25, 1.0, 0.0, None, None]
    assert results[0].state == "errored"


def test_long_texts_are_put_back_in_their_places(tmp_path: Path) -> None:
    each = sample("France", 1, "Paris", "C", attachments={"abc": "A very long question?"})
    each["messages"][1]["content"] = each["input"] = "attachment://abc"
    found = bring(tmp_path, written(tmp_path / "log.json", log(each)))
    assert found.asked[0].messages[1]["content"] == "A very long question?"


def test_an_unfinished_log_has_the_samples_that_were(tmp_path: Path) -> None:
    parts = members(SAMPLES[1])
    header = json.loads(parts.pop("header.json"))
    parts["_journal/start.json"] = json.dumps({"version": 2, "eval": header["eval"]}).encode()
    found = bring(tmp_path, packed(tmp_path / "log.eval", parts))
    record, _, results = found.round()
    assert (record.status, record.reason, len(results)) == ("stopped", "started", 1)
    assert any("never finished" in gap for gap in found.gaps)


def test_a_damaged_member_is_left_out_and_named(tmp_path: Path) -> None:
    parts = members(*SAMPLES[:2])
    parts["samples/Japan_epoch_1.json"] = b'{"id": '
    found = bring(tmp_path, packed(tmp_path / "log.eval", parts))
    assert len(found.round()[2]) == 1
    assert any(
        "left out 1 row" in gap and "samples/Japan_epoch_1.json" in gap for gap in found.gaps
    )


def test_a_wrong_checksum_is_seen(tmp_path: Path) -> None:
    path = packed(tmp_path / "log.eval", members(SAMPLES[0], SAMPLES[1]))
    whole = path.read_bytes()
    at = whole.find(b"samples/Japan", whole.find(b"PK\x01\x02"))
    path.write_bytes(whole[: at - 30] + b"\0\0\0\0" + whole[at - 26 :])
    found = bring(tmp_path, path)
    assert any("checksum is wrong" in gap for gap in found.gaps)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selftune.evaluate.interchange.archive._MOST_MEMBER", 1_000_000)
    parts = members(SAMPLES[1])
    parts["samples/bomb_epoch_1.json"] = b'"' + b"x" * 50_000_000 + b'"'
    for zstd in (True, False):
        found = bring(tmp_path / str(zstd), packed(tmp_path / f"{zstd}.eval", parts, zstd=zstd))
        assert any("larger than the limit" in gap for gap in found.gaps)


def test_names_of_members_never_become_paths(tmp_path: Path) -> None:
    parts = members(SAMPLES[1])
    parts["samples/../../../escape.json"] = json.dumps(sample("Japan", 1, "Tokyo", "I")).encode()
    before = set(tmp_path.parent.iterdir())
    found = bring(tmp_path, packed(tmp_path / "log.eval", parts))
    assert len(found.round()[2]) == 2
    assert set(tmp_path.parent.iterdir()) == before


@pytest.mark.parametrize("cut", [40, 200])
def test_half_an_archive_is_refused(tmp_path: Path, cut: int) -> None:
    whole = packed(tmp_path / "log.eval", members(*SAMPLES)).read_bytes()
    (tmp_path / "half.eval").write_bytes(whole[:cut])
    with pytest.raises(InvalidInput, match=r"half\.eval is not a whole zip archive"):
        bring(tmp_path, tmp_path / "half.eval")


def test_another_archive_is_of_no_known_tool(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "x")
    (tmp_path / "x.eval").write_bytes(buffer.getvalue())
    with pytest.raises(InvalidInput, match="of no known tool"):
        bring(tmp_path, tmp_path / "x.eval")
