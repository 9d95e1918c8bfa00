"""FLOPs, and graphs whose sizes are inferred anew."""

import pytest

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, correct_cg_for_downstream


def test_flops(cases, op2i, agreement):
    outcomes = {
        case.name: compute_cg_flops(case.graph, op2i) == pytest.approx(case.numbers["mflops"], rel=1e-9)
        for case in cases
    }
    agreement("FLOPs", outcomes)


def test_correction_changes_nothing_on_consistent_graphs(cases, agreement):
    outcomes = {}
    for case in cases:
        fixed = correct_cg_for_downstream(case.graph, *case.graph.input_shape[1:])
        outcomes[case.name] = canonical_hash(fixed) == canonical_hash(case.graph)
    agreement("correction of consistent graphs", outcomes)
