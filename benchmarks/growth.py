"""How a search's time grows: with the nodes of the input, and with parents x segments x targets."""

import numpy as np
from harness import Row, run, seconds_of, shipped_mutator, shipped_network

CELLS = (4, 9, 19, 40, 82)  # about 50, 100, 200, 400 and 800 nodes
REPEATS = 3


def _chain(n_cells: int):
    """Cells of NB-201 operations, one after the other, at three resolutions."""
    from model_src.search.run_manager import with_run_normalisers
    from model_src.search_space.graph_builder import GraphBuilder

    builder = GraphBuilder(f"{n_cells} cells")
    x = builder.batchnorm(builder.conv(builder.input(), 16, 3))
    for number in range(n_cells):
        stride = 2 if number in (n_cells // 3, 2 * n_cells // 3) else 1
        x = builder.batchnorm(builder.conv(builder.relu(x), x.c * stride, 3, stride=stride))
        short = builder.batchnorm(builder.conv(builder.relu(x), x.c, 1))
        x = builder.add(builder.add(short, x), builder.batchnorm(builder.avgpool(x, 3)))
    return with_run_normalisers(builder.classifier(x, dropout=False))


def _seconds(cg, candidates: int, targets: int, seed: int) -> tuple[float, int]:
    """Time of one parent whose children are all built, the database embedded before; and their number."""
    from model_src.comp_graph.tf_comp_graph import OP2I
    from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
    from model_src.search.objectives import Objectives

    mutator = shipped_mutator(max_candidate_per_iter=candidates, max_target_per_iter=targets)
    objectives = Objectives(-1e9, compute_cg_flops(cg, OP2I().build_from_file()), -1e9, 1e9)
    mutator.mutate(cg, objectives, np.random.default_rng(1000 + seed))
    children = []
    seconds = seconds_of(
        lambda: children.append(mutator.mutate(cg, objectives, np.random.default_rng(seed)).n_scored)
    )  # fmt: skip
    return seconds, children[0]


def _slope(sizes: list[float], seconds: list[float]) -> float:
    """The exponent of growth by least squares; 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def measure() -> list[Row]:
    """One parent, 10 segments x 100 targets unless said otherwise, every child built."""
    rows, sizes, best = [], [], []
    for cells in CELLS:
        cg = _chain(cells)
        measured = [_seconds(cg, 10, 100, seed) for seed in range(REPEATS)]
        per_thousand = tuple(1e3 * seconds / children for seconds, children in measured)
        rows.append(Row(f"1,000 children of one parent of {cg.n_nodes} nodes", "s", per_thousand))
        sizes.append(cg.n_nodes)
        best.append(min(rows[-1].values))
    rows.append(Row("exponent of the growth with nodes (1: linear)", "", (_slope(sizes, best),), 1.1))
    cg, sizes, best = shipped_network(), [], []
    for candidates, targets in ((5, 50), (10, 50), (10, 100), (20, 100), (20, 200)):
        measured = [_seconds(cg, candidates, targets, seed) for seed in range(REPEATS)]
        rows.append(Row(f"one parent, {candidates} segments × {targets} targets", "s", tuple(s for s, _ in measured)))
        sizes.append(candidates * targets)
        best.append(min(rows[-1].values))
    rows.append(Row("exponent of the growth with segments × targets", "", (_slope(sizes, best),), 1.1))
    return rows


if __name__ == "__main__":
    run(measure, __doc__)
