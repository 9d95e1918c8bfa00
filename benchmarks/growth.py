"""How the processor time of a search grows: with the nodes of the input, and with parents × segments × targets."""

import numpy as np
from harness import Row, another_mutator, open_goal, processor_seconds_of, run, shipped_mutator, shipped_network

CELLS = (4, 9, 19, 40, 82)  # about 50, 100, 200, 400 and 800 nodes
SWAPS = ((5, 50), (10, 50), (10, 100), (20, 100), (20, 200))  # segments, targets
PARENTS = (1, 2, 4)
REPEATS = 3


def _chain(n_cells: int):
    """Cells of NB-201 operations, one after the other, at three resolutions."""
    from model_src.search.run import with_run_normalisers
    from model_src.search_space.graph_builder import GraphBuilder

    builder = GraphBuilder(f"{n_cells} cells")
    x = builder.batchnorm(builder.conv(builder.input(), 16, 3))
    for number in range(n_cells):
        stride = 2 if number in (n_cells // 3, 2 * n_cells // 3) else 1
        x = builder.batchnorm(builder.conv(builder.relu(x), x.c * stride, 3, stride=stride))
        short = builder.batchnorm(builder.conv(builder.relu(x), x.c, 1))
        x = builder.add(builder.add(short, x), builder.batchnorm(builder.avgpool(x, 3)))
    return with_run_normalisers(builder.classifier(x, dropout=False))


def _seconds(loaded, parents: list, candidates: int, targets: int, seed: int) -> tuple[float, int]:
    """Processor time of mutating all parents, and the number of children; all are built, the database is embedded."""
    mutator = another_mutator(loaded, max_candidate_per_iter=candidates, max_target_per_iter=targets)
    goal = open_goal(parents[0])
    mutator.mutate(parents[0], goal, np.random.default_rng(1000 + seed))
    n_scored = []

    def work() -> None:
        for number, cg in enumerate(parents):
            n_scored.append(mutator.mutate(cg, goal, np.random.default_rng((seed, number))).n_scored)

    return processor_seconds_of(work), sum(n_scored)


def _children(mutator, cg, count: int) -> list:
    """Different networks one swap away from the given one."""
    mutation = mutator.mutate(cg, open_goal(cg), np.random.default_rng(0))
    different = {child.identity: child.swap for child in mutation.accepted}
    chosen = list(different.values())[:: len(different) // count][:count]
    return [swap.apply(cg, "new") for swap in chosen]


def _slope(sizes: list[float], rows: list[Row]) -> float:
    """The exponent of growth by least squares on the medians; 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log([row.median for row in rows]), 1)[0])


def measure() -> list[Row]:
    """Growth with the nodes of one parent, per child; with its segments and targets; and with the number of parents."""
    loaded, by_nodes, by_targets, by_parents = shipped_mutator(), [], [], []
    graphs = [_chain(cells) for cells in CELLS]
    for cg in graphs:
        measured = [_seconds(loaded, [cg], 10, 100, seed) for seed in range(REPEATS)]
        per_thousand = tuple(1e3 * seconds / children for seconds, children in measured)
        by_nodes.append(Row(f"1,000 children of one parent of {cg.n_nodes} nodes", "s", per_thousand))
    cg = shipped_network()
    for candidates, targets in SWAPS:
        seconds = tuple(_seconds(loaded, [cg], candidates, targets, seed)[0] for seed in range(REPEATS))
        by_targets.append(Row(f"one parent, {candidates} segments × {targets} targets", "s", seconds))
    parents = _children(loaded, cg, max(PARENTS))
    for count in PARENTS:
        seconds = tuple(_seconds(loaded, parents[:count], 10, 100, seed)[0] for seed in range(REPEATS))
        by_parents.append(Row(f"one iteration of top_k {count}, 10 segments × 100 targets", "s", seconds))
    exponents = [
        ("nodes (1: linear)", [cg.n_nodes for cg in graphs], by_nodes),
        ("segments × targets", [segments * targets for segments, targets in SWAPS], by_targets),
        ("top_k", PARENTS, by_parents),
    ]
    return [
        row
        for what, sizes, rows in exponents
        for row in (*rows, Row(f"exponent of the growth with {what}", "", (_slope(sizes, rows),), 1.1))
    ]


if __name__ == "__main__":
    run(measure, __doc__)
