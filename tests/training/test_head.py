from dataclasses import replace

import pytest
import torch

from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, correct_cg_for_downstream, parameter_count
from model_src.training.head import fitted, with_classes
from model_src.training.image_data import CIFAR10
from tests.conftest import ROOT, conv, regular
from tests.training.conftest import classifier, of_classes


def convolution_at_the_end() -> ComputeGraph:
    """input -> conv 3->8 -> conv 8->10 -> batchnorm -> relu -> mean -> output on an 8x8 map."""
    nodes = [
        regular("i", "input", 1, 8, 3),
        conv("c", 8, 3, 8),
        conv("h", 8, 8, 10, kernel=1),
        regular("b", "fusedbatchnormv3", 5, 8, 10),
        regular("r", "relu", 6, 8, 10),
        regular("m", "mean", 19, 8, 10, 1),
        regular("o", "output", 2, 1, 10),
    ]
    return ComputeGraph.from_nodes("all_conv", (1, 8, 8, 3), nodes, [(i, i + 1) for i in range(6)])


def shape_of_result(cg: ComputeGraph) -> tuple[int, ...]:
    _, h, w, c = cg.input_shape
    with torch.inference_mode():
        return tuple(build_torch_network(cg, seed=0).eval()(torch.zeros(1, c, h, w)).shape)


def test_the_dense_layer_changes_and_what_is_before_it_does_not(op2i):
    old = classifier()
    new = with_classes(old, 4)
    by_id = {node.str_id: node for node in new.nodes}
    assert [by_id[node.str_id] is node for node in old.nodes] == [node.str_id not in ("3", "4") for node in old.nodes]
    assert (by_id["3"].resolution, by_id["3"].kernel) == ((1, 1, 1, 1, 8, 4), (8, 4, 0, 0))
    assert by_id["4"].resolution == (1, 1, 1, 1, 4, 4)
    assert (new.name, new.input_shape, new.edge_pairs) == (old.name, old.input_shape, old.edge_pairs)
    flops = [compute_cg_flops(cg, op2i, div=1) for cg in (old, new)]
    assert flops[0] - flops[1] == 2 * (8 + 1) * (10 - 4)
    assert parameter_count(old) - parameter_count(new) == (8 + 1) * (10 - 4)
    assert shape_of_result(new) == (1, 4)
    assert old.nodes[old.output_index].out_shape == (1, 1, 10)


def test_what_comes_after_a_convolution_follows():
    new = with_classes(convolution_at_the_end(), 13)
    by_id = {node.str_id: node for node in new.nodes}
    assert by_id["c"] == conv("c", 8, 3, 8)
    assert by_id["h"].kernel == (8, 13, 1, 1)
    assert [by_id[str_id].resolution[4:] for str_id in "brmo"] == [(13, 13)] * 4
    assert shape_of_result(new) == (1, 13)


def test_a_network_with_the_right_end_stays_as_it_is():
    old = classifier()
    assert with_classes(old, 10) is old


@pytest.mark.parametrize("family", ["nb201", "hiaml", "inception", "two_path", "nb101"])
def test_shipped_networks_take_any_number_of_classes(family):
    cg = load_cg(ROOT / "architectures" / f"{family}_best.pkl")
    corrected = correct_cg_for_downstream(cg, *cg.input_shape[1:])
    for n_classes in (3, 200):
        new = with_classes(corrected, n_classes)
        assert shape_of_result(new) == (1, n_classes)
        assert sum(node not in corrected.nodes for node in new.nodes) == 2  # the dense layer and the output


def test_only_data_other_than_cifar10_change_a_network():
    old = classifier(n_classes=12)
    assert fitted(old, of_classes(10, CIFAR10)) is old
    assert shape_of_result(fitted(old, of_classes(10, "folder:x"))) == (1, 10)


def with_end(*nodes, edges) -> ComputeGraph:
    """input -> conv 3->8 on an 8x8 map, and what follows it."""
    first = [regular("i", "input", 1, 8, 3), conv("c", 8, 3, 8)]
    return ComputeGraph.from_nodes("odd", (1, 8, 8, 3), [*first, *nodes], [(0, 1), *edges])


MEAN, OUTPUT = regular("m", "mean", 19, 8, 8, 1), regular("o", "output", 2, 1, 8)
# Case -> the network, and what the message must say.
ODD_ENDS = {
    "several outputs": (
        with_end(MEAN, OUTPUT, regular("p", "output", 2, 1, 8), edges=[(1, 2), (2, 3), (2, 4)]),
        "expected one output node, found 2",
    ),
    "a map": (
        with_end(regular("o", "output", 2, 8, 8), edges=[(1, 2)]),
        "odd: the network ends in a map of 8x8",
    ),
    "a merge": (
        with_end(
            conv("d", 8, 8, 8),
            regular("a", "add", 9, 8, 8),
            MEAN,
            OUTPUT,
            edges=[(1, 2), (1, 3), (2, 3), (3, 4), (4, 5)],
        ),
        r"node a \(add\): it joins several inputs behind the last dense layer or convolution",
    ),
    "no weights": (
        ComputeGraph.from_nodes("odd", (1, 8, 8, 8), [regular("i", "input", 1, 8, 8), MEAN, OUTPUT], [(0, 1), (1, 2)]),
        r"node i \(input\): it comes without the last dense layer or convolution",
    ),
    "another operation": (
        with_end(regular("s", "spacetodepthnd", 22, 8, 8, 1, 8), OUTPUT, edges=[(1, 2), (2, 3)]),
        r"node s \(spacetodepthnd\): it stands behind the last dense layer or convolution",
    ),
}


@pytest.mark.parametrize("case", ODD_ENDS)
def test_other_ends_are_refused_in_one_line(case):
    graph, words = ODD_ENDS[case]
    with pytest.raises(ValueError, match=words) as error:
        with_classes(graph, 4)
    assert "\n" not in str(error.value)


def test_a_map_is_refused_even_where_its_channels_are_right():
    with pytest.raises(ValueError, match="ends in a map"):
        with_classes(replace(ODD_ENDS["a map"][0], name="x"), 8)
