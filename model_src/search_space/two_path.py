"""Two-Path: two sequences of blocks side by side."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search_space.bricks import cb, cbr6, draw_ops, inception_s, pool
from model_src.search_space.graph_builder import GraphBuilder, Tensor

CONV_OPS = (
    "conv3x3", "double3x3", "conv5x5", "bottleneck-r2-k3", "bottleneck-r4-k3", "bottleneck-e2-k3",
    "inception_s3x3", "inception_s5x5",
)  # fmt: skip
SUPP_OPS = ("conv1x1", "bottleneck-r2-k1", "bottleneck-e2-k1", "avgpool3x3", "maxpool3x3")
PATHS = ("path1", "path2")

Config = dict[str, Any]


def sample(rng: np.random.Generator) -> Config:
    """Draw two paths of 2-4 blocks of 1-3 operations, and the two reducing blocks of each."""
    config: Config = {}
    for path in PATHS:
        blocks = [draw_ops(rng, int(rng.integers(1, 4)), CONV_OPS, SUPP_OPS) for _ in range(rng.integers(2, 5))]
        config[path] = [{"op_names": names, "op_types": types} for names, types in blocks]
        config[f"{path}_reduce_inds"] = sorted(rng.choice(len(blocks), size=2, replace=False).tolist())
    return config


def build(config: Mapping[str, Any], name: str) -> ComputeGraph:
    """Build a network from its two paths.

    Raises:
        ValueError: An operation is unknown, a part is missing, or the paths end in different sizes.
    """
    b = GraphBuilder(name)
    x = cbr6(b, b.input(), 32, 3)
    x = cbr6(b, x, 32, 3, 2)
    try:
        ends = [_path(b, x, config[path], config[f"{path}_reduce_inds"]) for path in PATHS]
    except KeyError as error:
        raise ValueError(f"{name}: a Two-Path config has no part or operation {error}") from error
    if ends[0][1:] != ends[1][1:]:
        raise ValueError(f"{name}: the paths end in different shapes")
    return b.classifier(cbr6(b, b.concat(*ends), 512, 3), dropout=True)


def _path(b: GraphBuilder, x: Tensor, blocks: Sequence[Mapping[str, Any]], reducing: Sequence[int]) -> Tensor:
    for index, block in enumerate(blocks):
        b.restart_numbering()
        x = _block(b, x, block, reduces=index in reducing)
    return x


def _block(b: GraphBuilder, x: Tensor, block: Mapping[str, Any], reduces: bool) -> Tensor:
    """The operations in a row; the first of type `conv` halves the map and doubles the channels where asked to."""
    result = x
    for index, op in enumerate(block["op_names"]):
        changes = reduces and index == block["op_types"].index("conv")
        result = OPS[op](b, result, 2 * x.c if changes else result.c, 2 if changes else 1)
    return result if reduces else b.add(result, x)


def _double(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    return cbr6(b, cbr6(b, x, x.c, 3, s), c, 3)


def _bottleneck(b: GraphBuilder, x: Tensor, c: int, s: int, k: int, reduction: int = 1, expansion: int = 1) -> Tensor:
    return cb(b, cb(b, x, max(1, x.c // reduction) * expansion, k, s), c, k)


def _conv(b: GraphBuilder, x: Tensor, c: int, s: int, k: int) -> Tensor:
    return cbr6(b, x, c, k, s)


def _inception(b: GraphBuilder, x: Tensor, c: int, s: int, k: int) -> Tensor:
    return inception_s(b, x, c, k, s)


# (builder, input, output channels, stride) -> output.
OPS: dict[str, Callable[[GraphBuilder, Tensor, int, int], Tensor]] = {
    "conv1x1": partial(_conv, k=1),
    "conv3x3": partial(_conv, k=3),
    "conv5x5": partial(_conv, k=5),
    "double3x3": _double,
    "bottleneck-r2-k1": partial(_bottleneck, k=1, reduction=2),
    "bottleneck-r2-k3": partial(_bottleneck, k=3, reduction=2),
    "bottleneck-r4-k3": partial(_bottleneck, k=3, reduction=4),
    "bottleneck-e2-k1": partial(_bottleneck, k=1, expansion=2),
    "bottleneck-e2-k3": partial(_bottleneck, k=3, expansion=2),
    "inception_s3x3": partial(_inception, k=3),
    "inception_s5x5": partial(_inception, k=5),
    "avgpool3x3": partial(pool, kind="avgpool"),
    "maxpool3x3": partial(pool, kind="maxpool"),
}
