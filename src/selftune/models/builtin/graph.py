"""The encoder as an ONNX graph, built from arrays; optionally with 8-bit weights per channel."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from selftune.models.builtin.weights import EPSILON, HEADS, LAYERS, WIDTH, Arrays

_OPSET = 20
_IR_VERSION = 10
_LARGEST = 127
"""Of an 8-bit weight, either way: zero stays zero."""


class _Builder:
    """Collects nodes and constants; every call returns the name of its output."""

    def __init__(self, *, quantize: bool) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._quantize = quantize
        self._count = 0

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        name = name or self._name("c")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self._nodes(kind, 1, *inputs, **attributes)[0]

    def linear(self, value: str, arrays: Arrays, name: str) -> str:
        weight = np.ascontiguousarray(arrays[f"{name}.weight"].T)
        bias = self.constant(arrays[f"{name}.bias"], f"{name}.bias")
        if self._quantize:
            return self.node("Add", self._rounded_product(value, weight, name), bias)
        product = self.node("MatMul", value, self.constant(weight, f"{name}.weight"))
        return self.node("Add", product, bias)

    def _rounded_product(self, value: str, weight: np.ndarray, name: str) -> str:
        """Multiply in 8 bits: weights by a scale for each column, values by one for all of them.

        These are the arrays and nodes of ONNX Runtime's `quantize_dynamic`, which takes two seconds.
        """
        peaks = np.abs(weight).max(axis=0).astype(np.float64)
        scales = np.where(peaks > 0, 2 * peaks / (2 * _LARGEST), 1).astype(weight.dtype)
        rounded = np.rint(weight / scales).clip(-_LARGEST, _LARGEST).astype(np.int8)
        small, scale, zero = self._nodes("DynamicQuantizeLinear", 3, value)
        zeros = self.constant(np.zeros(len(scales), np.int8), f"{name}.zeros")
        known = self.constant(rounded, f"{name}.weight"), self.constant(scales, f"{name}.scales")
        scale = self.node("Mul", scale, known[1])
        whole = self.node("MatMulInteger", small, known[0], zero, zeros)
        return self.node("Mul", self.node("Cast", whole, to=TensorProto.FLOAT), scale)

    def norm(self, value: str, arrays: Arrays, name: str) -> str:
        weight = self.constant(arrays[f"{name}.weight"], f"{name}.weight")
        bias = self.constant(arrays[f"{name}.bias"], f"{name}.bias")
        return self.node("LayerNormalization", value, weight, bias, axis=-1, epsilon=EPSILON)

    def _nodes(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        outputs = [self._name("v") for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"


def build_graph(arrays: Arrays, *, quantize: bool) -> Any:
    """Return the model: `ids` (rows, length) and `mask` (rows, length) in, `hidden` out."""
    build = _Builder(quantize=quantize)
    words = build.node("Gather", build.constant(arrays["words"], "words"), "ids")
    length = build.node("Shape", "ids", start=1, end=2)
    zero = build.constant(np.array([0], np.int64))
    positions = build.node("Slice", build.constant(arrays["positions"], "positions"), zero, length)
    value = build.norm(build.node("Add", words, positions), arrays, "norm")
    keep = build.node("Cast", "mask", to=TensorProto.FLOAT)
    inverse = build.node("Sub", build.constant(np.array(1.0, np.float32)), keep)
    bias = build.node("Mul", inverse, build.constant(np.array(-1e9, np.float32)))
    bias = build.node("Unsqueeze", bias, build.constant(np.array([1, 2], np.int64)))
    for layer in range(LAYERS):
        value = _layer(build, value, bias, arrays, layer)
    build.nodes.append(helper.make_node("Identity", [value], ["hidden"]))
    graph = helper.make_graph(
        build.nodes,
        "encoder",
        [
            _tensor("ids", TensorProto.INT64, ["rows", "length"]),
            _tensor("mask", TensorProto.INT64, ["rows", "length"]),
        ],
        [_tensor("hidden", TensorProto.FLOAT, ["rows", "length", WIDTH])],
        build.constants,
    )
    opset = helper.make_opsetid("", _OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)


def write_graph(arrays: Arrays, path: Path, *, quantize: bool) -> None:
    """Write the graph to `path`, which appears only when it is whole."""
    partial = path.with_suffix(".partial")
    model = build_graph(arrays, quantize=quantize)
    if quantize:
        model = shape_inference.infer_shapes(model)  # or the runtime fuses fewer of the 8-bit nodes
    onnx.save(model, partial)
    partial.replace(path)


def _layer(build: _Builder, value: str, bias: str, arrays: Arrays, layer: int) -> str:
    prefix = f"layers.{layer}"
    size = WIDTH // HEADS
    qkv = build.linear(value, arrays, f"{prefix}.qkv")
    shape = build.constant(np.array([0, 0, 3, HEADS, size], np.int64))
    split = build.node("Reshape", qkv, shape)
    moved = build.node("Transpose", split, perm=[2, 0, 3, 1, 4])
    query, key, content = (
        build.node("Gather", moved, build.constant(np.array(index, np.int64)), axis=0)
        for index in range(3)
    )
    scores = build.node("MatMul", query, build.node("Transpose", key, perm=[0, 1, 3, 2]))
    scale = build.constant(np.array(size**-0.5, np.float32))
    scores = build.node("Add", build.node("Mul", scores, scale), bias)
    mixed = build.node("MatMul", build.node("Softmax", scores, axis=-1), content)
    merged = build.node("Transpose", mixed, perm=[0, 2, 1, 3])
    flat = build.node("Reshape", merged, build.constant(np.array([0, 0, WIDTH], np.int64)))
    attended = build.linear(flat, arrays, f"{prefix}.out")
    value = build.norm(build.node("Add", value, attended), arrays, f"{prefix}.norm1")
    inner = build.node("Gelu", build.linear(value, arrays, f"{prefix}.up"))
    outer = build.linear(inner, arrays, f"{prefix}.down")
    return build.norm(build.node("Add", value, outer), arrays, f"{prefix}.norm2")


def _tensor(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
