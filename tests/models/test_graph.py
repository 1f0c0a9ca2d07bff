"""The encoder's graph on disk."""

from pathlib import Path

import pytest

from selftune.models.builtin.graph import write_graph
from selftune.models.builtin.weights import pretrained


def test_quantizing_says_nothing_and_leaves_only_the_graph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    write_graph(pretrained(), tmp_path / "encoder.onnx", quantize=True)
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]
