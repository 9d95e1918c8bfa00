"""Resolution propagation of one segment of at most 16 nodes: a new case, and a repeated one."""

import json

import numpy as np
from harness import REFERENCE, ROOT, Row, has_reference, run, seconds_of, shipped_segments

COUNT = 400
PUBLISHED_MS = 14.5


def _random_cases() -> list[tuple]:
    """Segments of the shipped database with at least two nodes, to be fitted to the shapes of others of their arity."""
    rng = np.random.default_rng(0)
    by_arity = {}
    for segment in shipped_segments():
        if 2 <= segment.graph.n_nodes <= 16:
            by_arity.setdefault((len(segment.inputs), len(segment.outputs)), []).append(segment)
    groups = [group for group in by_arity.values() if len(group) > 100]
    cases = []
    while len(cases) < COUNT:
        group = groups[rng.integers(len(groups))]
        segment, place = (group[number] for number in rng.integers(len(group), size=2))
        cases.append((segment, place.input_shapes, place.output_shapes))
    return cases


def _recorded_cases() -> list[tuple]:
    """The cases of the reference that got as far as a solver."""
    from tests.propagation.cases import case_to_segment

    lines = (REFERENCE / "milp" / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    solved = [case for case in map(json.loads, lines) if case["status"] in ("optimal", "infeasible")]
    return [case_to_segment(case) for case in solved if len(case["segment"]["nodes"]) <= 16]


def _rows(name: str, cases: list[tuple]) -> list[Row]:
    from model_src.propagation.milp import FORWARD_FAILED, Propagator

    Propagator().resolve(*cases[0])  # loads HiGHS
    propagator, new, repeated, status = Propagator(), [], [], {}
    for case in cases:
        seconds = seconds_of(lambda case=case: propagator.resolve(*case))
        status[case] = propagator.resolve(*case).status
        if status[case] != FORWARD_FAILED:
            new.append(1e3 * seconds)
        repeated.append(1e6 * seconds_of(lambda case=case: propagator.resolve(*case)))
    solved = sum(one == "optimal" for one in status.values())
    return [
        Row(f"MILP, new: {name}, {solved} of {len(new)} feasible", "ms", tuple(new), 3, published=PUBLISHED_MS),
        Row(f"MILP, repeated: {name}", "µs", tuple(repeated), 20, published=1e3 * PUBLISHED_MS),
    ]


def measure() -> list[Row]:
    """Forward propagation included; cases that fail in it are left out."""
    rows = _rows("shipped segments at random places", _random_cases())
    if has_reference() and (ROOT / "tests").is_dir():
        rows += _rows("the reference's recorded cases", _recorded_cases())
    return rows


if __name__ == "__main__":
    run(measure, __doc__)
