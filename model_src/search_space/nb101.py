"""NAS-Bench-101 (Ying et al., 2019): a cell of up to seven vertices, repeated nine times (search spaces, 6)."""

import re
from collections.abc import Sequence
from hashlib import md5
from typing import Any

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search_space.bricks import cbr
from model_src.search_space.graph_builder import GraphBuilder, Tensor

INPUT, OUTPUT = "input", "output"
OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
MAX_VERTICES = 7
MAX_EDGES = 9
_MODULES_PER_STACK = 3
# How many of the benchmark's 423,624 cells have 0, 1, 2, ... vertices (Ying et al., 2019).
_CELLS_BY_VERTICES = np.array([0, 0, 1, 6, 84, 2441, 62010, 359082])
_BATCH = 512  # about one random 7x7 matrix in 430 is valid

Matrix = Sequence[Sequence[int]]
Config = Sequence[Any]  # [ops, matrix]


def sample(rng: np.random.Generator) -> list[Any]:
    """Draw a cell in which every vertex lies on a path from input to output.

    The number of vertices is drawn as it is distributed in the benchmark, then the matrix uniformly among the valid
    ones and the operations uniformly; random matrices that are pruned afterwards would nearly all be cells of two to
    four vertices.
    """
    n = int(rng.choice(len(_CELLS_BY_VERTICES), p=_CELLS_BY_VERTICES / _CELLS_BY_VERTICES.sum()))
    ops = [INPUT, *(OPS[index] for index in rng.integers(len(OPS), size=n - 2)), OUTPUT]
    while True:
        matrices = np.triu(rng.integers(2, size=(_BATCH, n, n)), k=1)
        few_edges = matrices.sum(axis=(1, 2)) <= MAX_EDGES
        all_read = np.all(matrices[:, :-1].any(axis=2), axis=1)
        all_fed = np.all(matrices[:, :, 1:].any(axis=1), axis=1)
        (valid,) = np.nonzero(few_edges & all_read & all_fed)
        if valid.size:
            return [ops, matrices[valid[0]].tolist()]


def _on_a_path(matrix: Matrix) -> list[int]:
    """Vertices on a directed path from the first to the last, ascending."""
    n = len(matrix)
    after, before = {0}, {n - 1}
    for v in range(n):
        if v in after:
            after.update(t for t in range(n) if matrix[v][t])
    for v in reversed(range(n)):
        if any(matrix[v][t] for t in before):
            before.add(v)
    return sorted(after & before)


def prune(ops: Sequence[str], matrix: Matrix) -> tuple[list[str], list[list[int]]]:
    """Delete the vertices that lie on no path from input to output.

    Raises:
        ValueError: It is not a cell, or the output does not depend on the input.
    """
    n = len(ops)
    if not 2 <= n <= MAX_VERTICES or ops[0] != INPUT or ops[-1] != OUTPUT or not set(ops[1:-1]) <= set(OPS):
        raise ValueError(f"a NAS-Bench-101 cell is {INPUT}, up to 5 of {', '.join(OPS)}, {OUTPUT}; got {list(ops)}")
    if len(matrix) != n or any(len(row) != n or any(row[: v + 1]) for v, row in enumerate(matrix)):
        raise ValueError(f"the matrix of a cell of {n} vertices must be {n}x{n} and strictly upper triangular")
    kept = _on_a_path(matrix)
    if not kept:
        raise ValueError("no path leads from the cell's input to its output")
    return [ops[v] for v in kept], [[int(matrix[u][v]) for v in kept] for u in kept]


def cell_hash(ops: Sequence[str], matrix: Matrix) -> str:
    """The benchmark's key of a cell, equal for isomorphic cells: 32 hexadecimal digits.

    Raises:
        ValueError: It is not a cell.
    """
    ops, matrix = prune(ops, matrix)
    vertices = range(len(ops))
    sources = [[u for u in vertices if matrix[u][v]] for v in vertices]
    targets = [[t for t in vertices if matrix[v][t]] for v in vertices]
    labels = [-1, *(OPS.index(op) for op in ops[1:-1]), -2]
    hashes = [_md5(str((len(targets[v]), len(sources[v]), labels[v]))) for v in vertices]
    for _ in vertices:
        hashes = [
            _md5(
                "".join(sorted(hashes[u] for u in sources[v]))
                + "|"
                + "".join(sorted(hashes[t] for t in targets[v]))
                + "|"
                + hashes[v]
            )
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def label_key(config: Config) -> str:
    """The benchmark's key of a config's cell."""
    return cell_hash(*config)


def is_label_key(text: str) -> bool:
    """Whether a text has the form of the benchmark's keys."""
    return re.fullmatch("[0-9a-f]{32}", text) is not None


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def vertex_channels(matrix: Matrix, c_out: int) -> list[int]:
    """Channels of every vertex of a pruned cell whose output has `c_out`; 0 for input and output."""
    n = len(matrix)
    channels = [0] * n
    ends = [v for v in range(1, n - 1) if matrix[v][n - 1]]
    for position, v in enumerate(ends):
        channels[v] = c_out // len(ends) + (position < c_out % len(ends))
    for v in reversed(range(1, n - 1)):
        if v not in ends:
            channels[v] = max(channels[t] for t in range(v + 1, n - 1) if matrix[v][t])
    return channels


def build(config: Config, name: str) -> ComputeGraph:
    """Build the network of a cell `[ops, matrix]`; vertices on no path from input to output are deleted first.

    Raises:
        ValueError: The config is not a cell.
    """
    ops, matrix = prune(*config)
    b = GraphBuilder(name)
    x = cbr(b, b.input(), 128, 3)
    for stack, channels in enumerate((128, 256, 512)):
        if stack:
            x = b.maxpool(x, 2, stride=2)
        for _ in range(_MODULES_PER_STACK):
            b.restart_numbering()
            x = _module(b, x, ops, matrix, channels)
    return b.classifier(x, dropout=False)


def _module(b: GraphBuilder, x: Tensor, ops: Sequence[str], matrix: Matrix, c_out: int) -> Tensor:
    last = len(ops) - 1
    channels = vertex_channels(matrix, c_out)
    results: dict[int, Tensor] = {}
    for v in range(1, last):
        c = channels[v]
        # A vertex reads the first channels of a wider one; the graph has no node for that.
        sources = [results[u]._replace(c=c) for u in range(1, v) if matrix[u][v]]
        if matrix[0][v]:
            sources.append(cbr(b, x, c, 1))
        results[v] = _op(b, ops[v], b.add(*sources, label="addn"))
    ends = [results[v] for v in range(1, last) if matrix[v][last]]
    sums = [b.concat(*ends)] if ends else []
    if matrix[0][last]:
        sums.append(cbr(b, x, c_out, 1))
    return b.add(*sums)


def _op(b: GraphBuilder, op: str, x: Tensor) -> Tensor:
    return b.maxpool(x, 3) if op == "maxpool3x3" else cbr(b, x, x.c, int(op[4]))
