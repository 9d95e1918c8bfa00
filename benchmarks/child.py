"""One child network at 306 nodes: from the chosen swap to its score, FLOPs and canonical hash.

A search embeds what is before and after a segment once, for all the children that get another one in its place.
"""

import time

import numpy as np
from harness import Row, open_goal, run, shipped_mutator, shipped_network

PUBLISHED_MS = 155


def measure() -> list[Row]:
    """Every swap of ten segments on its own, and all of them as a search does it, scored in one batch per segment."""
    from model_src.comp_graph.graph_ops import canonical_hash
    from model_src.comp_graph.tf_comp_graph import OP2I
    from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops

    cg, op2i = shipped_network(), OP2I().build_from_file()
    work = f"one child, {cg.n_nodes} nodes"
    goal = open_goal(cg)  # every child is built
    mutator, searched = shipped_mutator(), []
    children = mutator.mutate(cg, goal, np.random.default_rng(0)).accepted  # the database is embedded now
    for seed in range(1, 11):
        start = time.perf_counter()
        mutation = mutator.mutate(cg, goal, np.random.default_rng(seed))
        searched.append(1e3 * (time.perf_counter() - start) / mutation.n_scored)
    predictor, alone = mutator.predictor, []
    ends = {indices: _ends(cg, indices) for indices in {child.swap.indices for child in children}}
    for child in children:
        before, after = ends[child.swap.indices]
        start = time.perf_counter()
        network = child.swap.apply(cg, "new")
        predictor.score_psc([(before, child.swap.segment.part.with_normalisers(cg.normalisers), after)])
        compute_cg_flops(network, op2i)
        canonical_hash(network)
        alone.append(1e3 * (time.perf_counter() - start))
    return [
        Row(f"{work}: built, scored, FLOPs, hashed, each alone", "ms", tuple(alone), 2, published=PUBLISHED_MS),
        Row(
            f"{work}: all of `mutate`, targets found and resolved, too",
            "ms",
            tuple(searched),
            2,
            published=PUBLISHED_MS,
        ),
    ]


def _ends(cg, indices):
    """What is before and after the given nodes."""
    from model_src.comp_graph.graph_ops import part_of, topological_order

    order = topological_order(cg)
    places = sorted(order.index(index) for index in indices)
    return part_of(cg, order[: places[0]]), part_of(cg, order[places[-1] + 1 :])


if __name__ == "__main__":
    run(measure, __doc__)
