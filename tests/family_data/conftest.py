import pytest

from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.family_data import LabelledGraph
from model_src.search_space import hiaml


@pytest.fixture
def networks(op2i):
    """Three small networks, worst first, the last one without an accuracy."""
    graphs = [hiaml.build([block] * 4, f"HiAMLNet{n}") for n, block in enumerate(["hiaml_l20", "hiaml_z", "hiaml_a22"])]
    return [
        LabelledGraph(graph, accuracy, compute_cg_flops(graph, op2i), 1000, ["a", 1])
        for graph, accuracy in zip(graphs, (0.91, 0.93, None), strict=True)
    ]
