"""HiAML: four stages, each one of 14 blocks twice."""

from collections.abc import Callable, Sequence

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search_space.bricks import cb, cbr, inception_s
from model_src.search_space.graph_builder import GraphBuilder, Tensor

STAGES = ((64, 1), (128, 2), (128, 1), (256, 2))  # (channels, stride of the first block)
_BLOCKS_PER_STAGE = 2

# (builder, block input, output channels, stride) -> the tensor before the block's last relu.
Block = Callable[[GraphBuilder, Tensor, int, int], Tensor]


def sample(rng: np.random.Generator) -> list[str]:
    """Draw a block for each stage, uniformly."""
    names = tuple(BLOCKS)
    return [names[index] for index in rng.integers(len(names), size=len(STAGES))]


def build(config: Sequence[str], name: str) -> ComputeGraph:
    """Build a network from its four block names.

    Raises:
        ValueError: The config is not four known names.
    """
    if len(config) != len(STAGES) or not set(config) <= BLOCKS.keys():
        raise ValueError(f"a HiAML network is {len(STAGES)} names out of {', '.join(BLOCKS)}; got {config!r}")
    b = GraphBuilder(name)
    x = cbr(b, b.input(), 64, 3, 2)
    for block, (channels, stride) in zip(config, STAGES, strict=True):
        for index in range(_BLOCKS_PER_STAGE):
            b.restart_numbering()
            x = b.relu(BLOCKS[block](b, x, channels, 1 if index else stride))
    return b.classifier(x, dropout=False)


def _projected(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    """The block's input in the shape of its output."""
    return x if s == 1 and x.c == c else cb(b, x, c, 1, s)


def _a22(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cbr(b, x, c, 3, s)
    return b.add(n1, cb(b, cbr(b, n1, c, 1), c, 1))


def _z(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cbr(b, x, c, 3, s)
    return b.add(n1, inception_s(b, n1, c, 3))


def _b23(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    p3 = _projected(b, x, c, s)
    return b.add(p3, inception_s(b, inception_s(b, x, c, 3, s), c, 3))


def _j30(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    p3 = _projected(b, x, c, s)
    return b.add(p3, inception_s(b, cbr(b, x, c, 3, s), c, 3))


def _g30(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    p2 = _projected(b, x, c, s)
    n1 = inception_s(b, x, c, 3, s)
    n2 = inception_s(b, b.add(p2, n1), c, 3)
    return b.add(n1, cb(b, n2, c, 1))


def _r30(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    p2 = _projected(b, x, c, s)
    p4 = _projected(b, x, c, s)
    n1 = inception_s(b, x, c, 3, s)
    n2 = cb(b, b.add(p2, n1), c, 1)
    n3 = inception_s(b, n1, c, 3)
    return b.add(b.add(p4, n2), n3)


def _l20(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    return cb(b, cbr(b, x, c, 3, s), c, 1)


def _t20(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cb(b, x, c, 1, s)
    return b.add(n1, inception_s(b, x, c, 3, s))


def _t31(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    p3 = _projected(b, x, c, s)
    p4 = _projected(b, x, c, s)
    n2 = cbr(b, inception_s(b, x, c, 3, s), c, 1)
    n3 = inception_s(b, b.add(p3, n2), c, 3)
    return b.add(b.add(p4, n2), n3)


def _src0(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cbr(b, x, c, 1, s)
    return b.add(n1, cb(b, cbr(b, n1, c, 3), c, 3))


def _src1(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cbr(b, x, c, 1, s)
    return b.add(n1, cb(b, cbr(b, x, x.c, 3), c, 3, s))


def _src3(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cb(b, x, c, 1, s)
    n3 = cbr(b, cbr(b, x, x.c, 1), c, 3, s)
    return b.add(n1, cb(b, n3, c, 1))


def _src7(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cb(b, x, c, 1, s)
    return b.add(n1, inception_s(b, inception_s(b, n1, c, 3), c, 3))


def _src8(b: GraphBuilder, x: Tensor, c: int, s: int) -> Tensor:
    n1 = cb(b, x, c, 1, s)
    return b.add(n1, cb(b, inception_s(b, n1, c, 3), c, 1))


BLOCKS: dict[str, Block] = {
    "hiaml_a22": _a22,
    "hiaml_z": _z,
    "hiaml_b23": _b23,
    "hiaml_j30": _j30,
    "hiaml_g30": _g30,
    "hiaml_r30": _r30,
    "hiaml_l20": _l20,
    "hiaml_t20": _t20,
    "hiaml_t31": _t31,
    "hiaml_src0": _src0,
    "hiaml_src1": _src1,
    "hiaml_src3": _src3,
    "hiaml_src7": _src7,
    "hiaml_src8": _src8,
}
