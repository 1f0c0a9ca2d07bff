"""The encoder's graph on disk."""

from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from selftune.models.builtin.encoder import Encoder, split_pieces
from selftune.models.builtin.graph import build_graph, write_graph
from selftune.models.builtin.weights import pretrained


def test_quantizing_says_nothing_leaves_only_the_graph_and_is_onnx_runtimes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    ours, theirs, arrays = tmp_path / "encoder.onnx", tmp_path / "theirs.onnx", pretrained()
    arrays["layers.0.up.weight"][3] = 0  # a column without a scale
    write_graph(arrays, ours, quantize=True)
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]
    model = build_graph(arrays, quantize=False)
    add_pre_process_metadata(model)  # or a warning is printed
    quantize_dynamic(
        model,
        theirs,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    pieces = split_pieces(["Where is my parcel?", "Zażółć gęślą jaźń. " * 40], 256)
    found, expected = (Encoder(path, threads=1).states(pieces) for path in (ours, theirs))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
