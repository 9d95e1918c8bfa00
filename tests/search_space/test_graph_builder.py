import pytest

from model_src.comp_graph.tf_comp_graph_utils import parameter_count
from model_src.search_space.graph_builder import GraphBuilder


def labels(cg):
    return [node.label for node in cg.nodes]


def test_nodes_keep_creation_order_and_kernels_come_first():
    b = GraphBuilder("net")
    x = b.relu(b.batchnorm(b.conv(b.input(), 8, 3, 2)))
    cg = b.classifier(x, dropout=True)
    assert labels(cg) == [
        "conv2d", "matmul", "input", "fusedbatchnormv3", "relu", "mean", "identity", "output",
    ]  # fmt: skip
    assert cg.edge_pairs == ((0, 3), (1, 7), (2, 0), (3, 4), (4, 5), (5, 6), (6, 1))
    assert (cg.name, cg.input_shape, cg.max_hidden_size, cg.max_derived_H) == ("net", (1, 32, 32, 3), 512, 256)
    assert len({node.str_id for node in cg.nodes}) == cg.n_nodes


def test_fields_of_a_convolution():
    b = GraphBuilder("net")
    node = b.classifier(b.conv(b.input(), 8, (1, 3), (1, 2), bias=True), dropout=False).nodes[0]
    assert node.resolution == (32, 32, 32, 16, 3, 8)
    assert node.strides == (1, 1, 2, 1)
    assert node.shape == (3, 8, 1, 3)
    assert node.metadata == {"data_format": "NHWC", "dilations": (1, 1, 1, 1), "padding": "same", "use_bias": True}


def test_fields_of_the_other_windows():
    b = GraphBuilder("net")
    x = b.avgpool(b.maxpool(b.depthwise(b.input(), 5, 2), 3, 3), 2)
    depthwise, _, _, maxpool, avgpool, *_ = b.classifier(x, dropout=False).nodes
    assert (depthwise.shape, depthwise.resolution) == ((3, 1, 5, 5), (32, 16, 32, 16, 3, 3))
    assert (maxpool.resolution, maxpool.strides) == ((16, 6, 16, 6, 3, 3), (1, 3, 3, 1))
    assert maxpool.metadata == {"data_format": "NHWC", "padding": "same", "ksize": (1, 3, 3, 1)}
    assert (avgpool.label, avgpool.resolution) == ("avgpool", (6, 6, 6, 6, 3, 3))


def test_head():
    b = GraphBuilder("net")
    dense, _, mean, output = b.classifier(b.input(), dropout=False).nodes
    assert (dense.label, dense.shape, dense.resolution) == ("matmul", (3, 10, 0, 0), (1, 1, 1, 1, 3, 10))
    assert dense.metadata == {"use_bias": True}
    assert (mean.resolution, output.resolution) == ((32, 1, 32, 1, 3, 3), (1, 1, 1, 1, 10, 10))
    assert (mean.metadata, mean.strides) == (None, None)


def test_sum_of_one_result_is_no_node():
    b = GraphBuilder("net")
    x = b.input()
    assert b.add(x, x) == x
    assert b.add(x, b.relu(x)).node == 2


def test_concat_takes_its_input_size_from_the_first_operand():
    b = GraphBuilder("net")
    x = b.input()
    assert b.concat(x) == x
    y = b.concat(b.conv(x, 4, 1), b.conv(x, 6, 1))
    assert y.c == 10
    node = next(node for node in b.classifier(y, dropout=False).nodes if node.label == "concat")
    assert node.resolution == (32, 32, 32, 32, 4, 10)


def test_a_reader_may_take_the_first_channels_only():
    b = GraphBuilder("net")
    wide = b.conv(b.input(), 8, 1)
    assert b.relu(wide._replace(c=5)).c == 5


def test_numbered_labels():
    b = GraphBuilder("net")
    x = b.input()
    y = b.relu(x)
    b.add(x, y)
    b.add(x, y)
    b.add(x, y, label="addn")
    b.add(x, y)
    b.restart_numbering()
    b.add(x, y)
    found = [node.label for node in b.classifier(y, dropout=False).nodes if node.label.startswith("add")]
    assert found == ["add", "add_1", "addn", "add_2", "add"]


def test_equal_nodes_of_two_graphs_are_one_object():
    first, second = (
        (lambda b: b.classifier(b.relu(b.input()), dropout=False))(GraphBuilder(name)) for name in ("a", "b")
    )
    assert all(one is other for one, other in zip(first.nodes, second.nodes, strict=True))


@pytest.mark.parametrize(("bias", "expected"), [(False, 3 * 8 * 9 + 2 * 8 + 80 + 10), (True, 3 * 8 * 9 + 8 + 16 + 90)])
def test_parameter_count(bias, expected):
    b = GraphBuilder("net")
    assert parameter_count(b.classifier(b.batchnorm(b.conv(b.input(), 8, 3, bias=bias)), dropout=False)) == expected
