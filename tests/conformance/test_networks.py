"""The PyTorch and the TensorFlow network of every reference graph compute the same."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from tests.comp_graph.twins import outputs

TOLERANCE = 1e-4
QUICK = ("architectures/hiaml_best.pkl", "architectures/two_path_best.pkl", "architectures/samples/vgg/vgg16_bn.pkl")


def agree(case) -> bool:
    """Same weights, one random image of the graph's own size, evaluation mode, float32.

    Cells that mostly add up skip connections make untrained networks of six NB-201 cells answer with up to 7e5; there
    the difference is taken relative to the largest output.
    """
    is_map = case.graph.nodes[case.graph.output_index].out_shape[:2] != (1, 1)
    first, second = outputs(case.graph, n_images=1, squeeze_output=not is_map)
    largest = np.abs(first).max()
    assert largest > 0.005, case.name  # both zero would prove nothing
    return first.shape == second.shape and bool(np.abs(first - second).max() < TOLERANCE * max(1, largest))


def test_some_networks(cases, agreement):
    agreement("networks in both frameworks", {case.name: agree(case) for case in cases if case.name in QUICK})


@pytest.mark.slow
def test_all_other_networks(cases, agreement):
    outcomes = {case.name: agree(case) for case in cases if case.name not in QUICK}
    agreement("networks in both frameworks", outcomes)
    assert len(outcomes) == 52 - len(QUICK)
