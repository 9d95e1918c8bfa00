"""Inception: four stages of equal blocks with one to four paths."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search_space.bricks import cb, cbr6, draw_ops, pool
from model_src.search_space.graph_builder import GraphBuilder, Tensor

CONV_OPS = (
    "conv3x3", "inception_s3x3", "inception_p3x3", "depthwise3x3", "conv5x5", "depthwise5x5", "inception_s5x5",
    "inception_p5x5",
)  # fmt: skip
SUPP_OPS = ("conv1x1", "double1x1", "avgpool3x3", "maxpool3x3")
_FIXED_WIDTH_OPS = frozenset({"avgpool3x3", "maxpool3x3"})
STAGES = ((32, 32, 1), (32, 64, 2), (64, 128, 2), (128, 256, 2))  # (C_in, C_out, stride)
_MIN_WIDTH = 16
# Number of paths -> (fewest operations in a path, most in a block).
_OP_LIMITS = {1: (1, 3), 2: (1, 4), 3: (2, 8), 4: (2, 10)}

Config = dict[str, Any]


def sample(rng: np.random.Generator) -> Config:
    """Draw four stages: 2 to 6 equal blocks each."""
    return {
        "stages": [
            {
                "n_blocks": int(rng.integers(2, 7)),
                "block": {"paths": _sample_paths(rng, c_out)},
                "C_in": c_in,
                "C_out": c_out,
                "stride": stride,
            }
            for c_in, c_out, stride in STAGES
        ]
    }


def _sample_paths(rng: np.random.Generator, c_out: int) -> list[Config]:
    n_paths = int(rng.integers(1, 5))
    least, most = _OP_LIMITS[n_paths]
    paths, n_ops = [], 0
    for index, width in enumerate(_sample_widths(rng, n_paths, c_out)):
        still_to_come = n_paths - index - 1
        count = int(rng.integers(least, most - n_ops - least * still_to_come + 1))
        n_ops += count
        ops, types = draw_ops(rng, count, CONV_OPS, SUPP_OPS)
        internal = width
        if len(_widening(ops)) >= 2:
            internal = (width // 2, width, width * 2)[rng.choice(3, p=(0.3, 0.6, 0.1))]
        paths.append({"ops": ops, "op_types": types, "C_internal": max(internal, _MIN_WIDTH), "C_out": width})
    return paths


def _sample_widths(rng: np.random.Generator, n_paths: int, c_out: int) -> list[int]:
    """Divide a block's channels among its paths, in random order; none gets less than 16."""
    if n_paths == 3:
        quarter = c_out // 4
        widths = [2 * quarter, quarter, c_out - 3 * quarter]
    else:
        widths = [c_out // n_paths] * n_paths
        widths[-1] += c_out % n_paths
    return [max(width, _MIN_WIDTH) for width in rng.permutation(widths).tolist()]


def _widening(ops: list[str]) -> list[int]:
    """Positions of the operations that can change the number of channels."""
    return [index for index, op in enumerate(ops) if op not in _FIXED_WIDTH_OPS]


def build(config: Mapping[str, Any], name: str) -> ComputeGraph:
    """Build a network from its four stages.

    Raises:
        ValueError: An operation is unknown or a part is missing.
    """
    b = GraphBuilder(name)
    x = cbr6(b, b.input(), 32, 3, bias=True)
    try:
        for stage in config["stages"]:
            for index in range(stage["n_blocks"]):
                x = _block(b, x, stage["block"]["paths"], stage["C_out"], 1 if index else stage["stride"])
    except KeyError as error:
        raise ValueError(f"{name}: an Inception config has no part or operation {error}") from error
    return b.classifier(cbr6(b, x, 512, 3, bias=True), dropout=True)


def _block(b: GraphBuilder, x: Tensor, paths: list[Config], c_out: int, stride: int) -> Tensor:
    result = b.concat(*[_path(b, x, path, stride) for path in paths])
    if result.c != c_out:
        result = cb(b, result, c_out, 1, bias=True)
    return b.add(result, x) if stride == 1 and x.c == c_out else result


def _path(b: GraphBuilder, x: Tensor, path: Config, stride: int) -> Tensor:
    """The operations in a row; the first and the last that can change the channels do, the first `conv` strides."""
    widening = _widening(path["ops"])
    strided = path["op_types"].index("conv")
    for index, op in enumerate(path["ops"]):
        c = x.c
        if index == widening[0]:
            c = path["C_internal"]
        elif index == widening[-1]:
            c = path["C_out"]
        x = OPS[op](b, x, c, stride if index == strided else 1)
    return x


def _conv(b: GraphBuilder, x: Tensor, c: int, s: int, k: int) -> Tensor:
    return cbr6(b, x, c, k, s, bias=True)


def _double(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    return cbr6(b, cbr6(b, x, c, 1, bias=True), c, 1, s, bias=True)


def _depthwise(b: GraphBuilder, x: Tensor, c: int, s: int, k: int) -> Tensor:
    if x.c != c:
        x = b.conv(x, c, 1)
    return b.relu6(b.batchnorm(b.depthwise(x, k, s, bias=True)))


def _inception_s(b: GraphBuilder, x: Tensor, c: int, s: int, k: int) -> Tensor:
    return cbr6(b, cbr6(b, x, c, (1, k), (1, s), bias=True), c, (k, 1), (s, 1), bias=True)


def _inception_p(b: GraphBuilder, x: Tensor, c: int, s: int, k: int) -> Tensor:
    """A 1xk and a kx1 convolution side by side, each followed by its transpose where the map is to be halved."""
    half = c // 2
    wide = cb(b, x, half, (1, k), (1, s), bias=True)
    if s > 1:
        wide = cb(b, wide, half, (k, 1), (s, 1), bias=True)
    tall = cb(b, x, c - half, (k, 1), (s, 1), bias=True)
    if s > 1:
        tall = cb(b, tall, c - half, (1, k), (1, s), bias=True)
    return b.relu6(b.concat(wide, tall, label="concat"))


# (builder, input, output channels, stride) -> output.
OPS: dict[str, Callable[[GraphBuilder, Tensor, int, int], Tensor]] = {
    "conv1x1": partial(_conv, k=1),
    "conv3x3": partial(_conv, k=3),
    "conv5x5": partial(_conv, k=5),
    "double1x1": _double,
    "depthwise3x3": partial(_depthwise, k=3),
    "depthwise5x5": partial(_depthwise, k=5),
    "inception_s3x3": partial(_inception_s, k=3),
    "inception_s5x5": partial(_inception_s, k=5),
    "inception_p3x3": partial(_inception_p, k=3),
    "inception_p5x5": partial(_inception_p, k=5),
    "avgpool3x3": partial(pool, kind="avgpool"),
    "maxpool3x3": partial(pool, kind="maxpool"),
}
