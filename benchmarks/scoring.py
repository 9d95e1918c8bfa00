"""Scoring whole networks with the GNN and whole (predecessor, segment, successor) triples with the PSC predictor.

Times are processor times of the one thread that scores. The published figures were taken in searches, whose triples
share predecessors, segments and successors.
"""

import numpy as np
from harness import (
    ROOT,
    Row,
    processor_seconds_of,
    random_networks,
    run,
    shipped_mutator,
    shipped_network,
    shipped_segments,
)

FAMILIES, NETWORKS, REPEATS = ("hiaml", "nb201"), 100, 5  # networks per family


def _copies(parts: list) -> list:
    """The same graphs as new objects: nothing is remembered of them."""
    return [part.with_normalisers(part.normalisers) for part in parts]


def _searched(predictor) -> tuple[float, ...]:
    """Rates for a source segment after the other: new predecessor and successor, 100 new copies of segments."""
    cg, rng = shipped_network(), np.random.default_rng(0)
    segments = [segment.part for segment in shipped_segments() if segment.part.n_nodes > 1]
    rates = []
    for source in shipped_mutator().candidates(cg, rng)[: 4 * REPEATS]:
        chosen = [segments[number] for number in rng.integers(len(segments), size=100)]
        ends = source.predecessor, source.successor
        triples = [(ends[0], part.with_normalisers(cg.normalisers), ends[1]) for part in chosen]
        rates.append(len(triples) / processor_seconds_of(lambda triples=triples: predictor.score_psc(triples)))
    return tuple(rates)


def measure() -> list[Row]:
    """Once every graph and every part is new to the predictor, once the triples are those of a search."""
    from model_src.comp_graph.graph_ops import part_of, topological_order
    from model_src.predictor.scoring import load_predictor

    rng = np.random.default_rng(0)
    graphs = [cg for family in FAMILIES for cg in random_networks(family, NETWORKS)]
    triples = []
    for cg in graphs:
        order = topological_order(cg)
        start = int(rng.integers(1, len(order) - 8))
        stop = start + int(rng.integers(1, 7))
        triples.append([part_of(cg, nodes) for nodes in (order[:start], order[start:stop], order[stop:])])
    triples = [triple for triple in triples if all(part.n_nodes for part in triple)]
    gnn = load_predictor(ROOT / "saved_models" / "gnn_chkpt.pt", "GNN", "cpu")
    psc = load_predictor(ROOT / "saved_models" / "psc_chkpt.pt", "PSC_predictor", "cpu")
    psc_rates, gnn_rates = [], []
    for _ in range(REPEATS + 1):
        new_triples, new_graphs = [tuple(_copies(triple)) for triple in triples], _copies(graphs)
        psc_rates.append(len(triples) / processor_seconds_of(lambda new=new_triples: psc.score_psc(new)))
        gnn_rates.append(len(graphs) / processor_seconds_of(lambda new=new_graphs: gnn.score_graphs(new)))
    return [
        Row("PSC scoring, triples of a search", "triples/s", _searched(psc), 5050, more_is_better=True, published=505),
        Row(
            "PSC scoring, triples without a part in common",
            "triples/s",
            tuple(psc_rates[1:]),
            5050,
            more_is_better=True,
            published=505,
        ),
        Row("GNN scoring, new graphs", "graphs/s", tuple(gnn_rates[1:]), 3330, more_is_better=True, published=333),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
