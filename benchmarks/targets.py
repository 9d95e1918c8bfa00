"""Scoring 1,000 target segments of an embedded database for one source segment."""

import numpy as np
from harness import Row, run, seconds_of, shipped_mutator, shipped_network, shipped_segments

COUNT, REPEATS = 1000, 20


def measure() -> list[Row]:
    """Predecessor and successor are new every time, the targets have been scored before."""
    from model_src.search.candidates import select_candidates

    mutator, cg, rng = shipped_mutator(), shipped_network(), np.random.default_rng(0)
    predictor = mutator.predictor
    different = {segment.identity: segment.part for segment in shipped_segments() if segment.part.n_nodes}
    parts = [part.with_normalisers(cg.normalisers) for part in different.values()][:COUNT]
    found = mutator.candidates(cg, rng)
    times = []
    for candidate in select_candidates(found, REPEATS + 1, rng):
        triples = [(candidate.predecessor, part, candidate.successor) for part in parts]
        times.append(1e3 * seconds_of(lambda triples=triples: predictor.score_psc(triples)))
    embedding, *scoring = times  # the first call embeds the targets
    return [
        Row(
            f"scoring {len(parts)} targets for one source segment",
            "ms",
            tuple(scoring),
            20,
            published=1e3 * COUNT / 505,
        ),
        Row(f"embedding these {len(parts)} targets, once per run", "ms", (embedding,)),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
