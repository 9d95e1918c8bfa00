"""What several families share: short chains of operations, and the draw of an operation list."""

from collections.abc import Sequence

import numpy as np

from model_src.search_space.graph_builder import GraphBuilder, Size, Tensor


def cb(b: GraphBuilder, x: Tensor, c_out: int, kernel: Size, stride: Size = 1, bias: bool = False) -> Tensor:
    """Convolution, batch norm."""
    return b.batchnorm(b.conv(x, c_out, kernel, stride, bias))


def cbr(b: GraphBuilder, x: Tensor, c_out: int, kernel: Size, stride: Size = 1) -> Tensor:
    """Convolution, batch norm, relu."""
    return b.relu(cb(b, x, c_out, kernel, stride))


def cbr6(b: GraphBuilder, x: Tensor, c_out: int, kernel: Size, stride: Size = 1, bias: bool = False) -> Tensor:
    """Convolution, batch norm, relu6."""
    return b.relu6(cb(b, x, c_out, kernel, stride, bias))


def inception_s(b: GraphBuilder, x: Tensor, c_out: int, k: int, stride: int = 1) -> Tensor:
    """A 1xk and a kx1 convolution in a row; the first takes the whole stride (HiAML, Two-Path)."""
    return cbr6(b, cbr6(b, x, c_out, (1, k), stride), c_out, (k, 1))


def pool(b: GraphBuilder, x: Tensor, c_out: int, stride: int, kind: str) -> Tensor:
    """Pooling of 3x3, batch norm; channels and size stay (Inception, Two-Path)."""
    return b.batchnorm(getattr(b, kind)(x, 3))


def draw_ops(
    rng: np.random.Generator, count: int, conv_ops: Sequence[str], supp_ops: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Draw (operation names, types `conv` or `supp`): at least one `conv`, at most one `supp`, in random order."""
    names, types = [], []
    supp_share = len(supp_ops) / (len(conv_ops) + len(supp_ops))
    for index in range(count):
        is_supp = index > 0 and rng.random() < supp_share and "supp" not in types
        choices = supp_ops if is_supp else conv_ops
        names.append(choices[int(rng.integers(len(choices)))])
        types.append("supp" if is_supp else "conv")
    order = rng.permutation(count)
    return [names[index] for index in order], [types[index] for index in order]
