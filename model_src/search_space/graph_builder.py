"""Builds a computation graph operation by operation, in the order of a trace."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import constants
from model_src.comp_graph.ops import OPERATIONS
from model_src.comp_graph.sizes import window_output
from model_src.comp_graph.tf_comp_graph import (
    ComputeGraph,
    KernelShape,
    Node,
    NodeResolution,
    RegularNode,
    Strides,
    WeightedNode,
)

INPUT_SHAPE = (1, 32, 32, 3)
N_CLASSES = 10
NORMALISERS = {
    "max_hidden_size": constants.MAX_HIDDEN_SIZE,
    "max_kernel_size": constants.MAX_KERNEL_SIZE,
    "max_derived_H": constants.MAX_DERIVED_H,
    "max_derived_W": constants.MAX_DERIVED_W,
}

Size = int | tuple[int, int]  # one number for both, or (height, width)
Metadata = tuple[tuple[str, Any], ...]

_USE_BIAS: Metadata = (("use_bias", True),)


class Tensor(NamedTuple):
    """The result of a node, or its first `c` channels."""

    node: int
    h: int
    w: int
    c: int


class GraphBuilder:
    """Adds nodes in creation order; every method takes and returns tensors.

    Windows use SAME padding unless told to use `valid`, and dilation 1. Labels of adds and concats are numbered (`add`,
    `add_1`, ...) until `restart_numbering`, unless a label is given.

    Args:
        name: Architecture name.
        input_shape: (1, H, W, C).
    """

    def __init__(self, name: str, input_shape: tuple[int, int, int, int] = INPUT_SHAPE):
        self._name = name
        self._input_shape = input_shape
        self._nodes: list[Node] = []
        self._edges: list[tuple[int, int]] = []
        self._uses: Counter[str] = Counter()

    def restart_numbering(self) -> None:
        """Let the next add and the next concat be the first of their kind again."""
        self._uses.clear()

    def input(self) -> Tensor:
        """The network's input."""
        _, h, w, c = self._input_shape
        return self._append((), "input", (h, h, w, w, c, c))

    def conv(
        self, x: Tensor, c_out: int, kernel: Size, stride: Size = 1, bias: bool = False, padding: str = "same"
    ) -> Tensor:
        """A convolution."""
        return self._window("conv", x, c_out, kernel, stride, bias, padding)

    def depthwise(self, x: Tensor, kernel: Size, stride: Size = 1, bias: bool = False) -> Tensor:
        """A depthwise convolution."""
        return self._window("depthwise", x, x.c, kernel, stride, bias)

    def transposed(self, x: Tensor, c_out: int, kernel: int, stride: int, bias: bool = False) -> Tensor:
        """A transposed convolution whose result is `stride` times as high and wide."""
        metadata = (("data_format", "NHWC"), ("dilations", (1, 1, 1, 1)), ("padding", "explicit"))
        crop = (kernel - stride) // 2, -((stride - kernel) // 2)
        return self._append(
            (x,),
            "conv2d_transpose",
            (x.h, x.h * stride, x.w, x.w * stride, x.c, c_out),
            (1, stride, stride, 1),
            (*metadata, ("crop_h", crop), ("crop_w", crop), *(_USE_BIAS if bias else ())),
            shape=(x.c, c_out, kernel, kernel),
        )

    def maxpool(self, x: Tensor, kernel: int, stride: int = 1, padding: str = "same") -> Tensor:
        """Maximum over a window."""
        return self._pool("maxpool", x, kernel, stride, padding)

    def avgpool(self, x: Tensor, kernel: int, stride: int = 1, padding: str = "same") -> Tensor:
        """Mean over a window."""
        return self._pool("avgpool", x, kernel, stride, padding)

    def batchnorm(self, x: Tensor) -> Tensor:
        """Batch normalisation."""
        return self._pointwise("batchnorm", x, (("data_format", "NHWC"),))

    def relu(self, x: Tensor) -> Tensor:
        """max(0, x)."""
        return self._pointwise("relu", x)

    def relu6(self, x: Tensor) -> Tensor:
        """min(max(0, x), 6)."""
        return self._pointwise("relu6", x)

    def identity(self, x: Tensor) -> Tensor:
        """A node that passes its input on."""
        return self._pointwise("identity", x)

    def add(self, *tensors: Tensor, label: str | None = None) -> Tensor:
        """The sum of tensors of one shape; no node where all of them are one and the same result."""
        if len({x.node for x in tensors}) == 1:
            return tensors[0]
        _, h, w, c = tensors[0]
        return self._append(tensors, "add", (h, h, w, w, c, c), label=label or self._numbered("add"))

    def concat(self, *tensors: Tensor, label: str | None = None) -> Tensor:
        """The tensors side by side along the channels; no node for a single one."""
        if len(tensors) == 1:
            return tensors[0]
        _, h, w, c = tensors[0]
        resolution = (h, h, w, w, c, sum(x.c for x in tensors))
        return self._append(tensors, "concat", resolution, label=label or self._numbered("concat"))

    def classifier(self, x: Tensor, dropout: bool, n_classes: int = N_CLASSES) -> ComputeGraph:
        """Global average pool, dropout (an identity at inference), dense layer with bias, output; returns the graph."""
        x = self._append((x,), "mean", (x.h, 1, x.w, 1, x.c, x.c))
        if dropout:
            x = self.identity(x)
        resolution, shape = (1, 1, 1, 1, x.c, n_classes), (x.c, n_classes, 0, 0)
        return self.output(self._append((x,), "matmul", resolution, None, _USE_BIAS, shape=shape))

    def output(self, x: Tensor) -> ComputeGraph:
        """End with the output; returns the graph."""
        self._pointwise("output", x)
        return ComputeGraph.from_nodes(self._name, self._input_shape, self._nodes, self._edges, NORMALISERS)

    def _window(
        self, op: str, x: Tensor, c_out: int, kernel: Size, stride: Size, bias: bool, padding: str = "same"
    ) -> Tensor:
        (k_h, k_w), (s_h, s_w) = _pair(kernel), _pair(stride)
        metadata = (("data_format", "NHWC"), ("dilations", (1, 1, 1, 1)), ("padding", padding))
        h, w = window_output(x.h, k_h, s_h, padding), window_output(x.w, k_w, s_w, padding)
        return self._append(
            (x,),
            op,
            (x.h, h, x.w, w, x.c, c_out),
            (1, s_h, s_w, 1),
            metadata + _USE_BIAS if bias else metadata,
            shape=OPERATIONS[op].kernel_shape(x.c, c_out, k_h, k_w),
        )

    def _pool(self, op: str, x: Tensor, kernel: int, stride: int, padding: str) -> Tensor:
        h, w = (window_output(size, kernel, stride, padding) for size in (x.h, x.w))
        metadata = (("data_format", "NHWC"), ("padding", padding), ("ksize", (1, kernel, kernel, 1)))
        return self._append((x,), op, (x.h, h, x.w, w, x.c, x.c), (1, stride, stride, 1), metadata)

    def _pointwise(self, op: str, x: Tensor, metadata: Metadata = ()) -> Tensor:
        return self._append((x,), op, (x.h, x.h, x.w, x.w, x.c, x.c), None, metadata)

    def _append(self, sources: Sequence[Tensor], *fields: Any, **more: Any) -> Tensor:
        index = len(self._nodes)
        node = _node(str(index), *fields, **more)
        self._nodes.append(node)
        self._edges.extend((x.node, index) for x in sources)
        return Tensor(index, *node.out_shape)

    def _numbered(self, word: str) -> str:
        self._uses[word] += 1
        return numbered(word, self._uses[word] - 1)


# Networks of a family consist of few different nodes. Nodes are never changed, so equal ones are one object.
@lru_cache(maxsize=1 << 16)
def _node(
    str_id: str,
    op: str,
    resolution: NodeResolution,
    strides: Strides | None = None,
    metadata: Metadata = (),
    shape: KernelShape | None = None,
    label: str = "",
) -> Node:
    operation = OPERATIONS[op]
    name, more = label or operation.label, dict(metadata) or None
    if shape is None:
        return RegularNode(str_id, name, operation.index, resolution, strides, more)
    return WeightedNode(str_id, name, operation.index, resolution, strides, more, shape)


def numbered(word: str, count: int) -> str:
    """`add`, `add_1`, `add_2`, ... for the counts 0, 1, 2, ..."""
    return f"{word}_{count}" if count else word


def _pair(value: Size) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
