"""The table of operations: names, indices, costs, what is refused."""

import math
from dataclasses import replace

import pytest

import constants
from model_src.comp_graph import tf_comp_graph_flops_counter as cost
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.ops import (
    N_PUBLISHED,
    OPERATIONS,
    Channels,
    Kind,
    Operation,
    OperationTable,
    operation_of,
    vocabulary,
)
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, graph_macs, parameter_count
from tests.conftest import conv, regular

# Every label of the published files, frozen graphs and families (numbers at the end apart), with its index and what it
# is called in tokens and permissions.
PUBLISHED = [
    ("add", 9, "add"), ("addn", 9, "add"), ("avgpool", 13, "avgpool"), ("concat", 11, "concat"),
    ("conv2d", 3, "conv2d"), ("depthwise", 4, "depthwise"), ("fusedbatchnorm", 5, "fusedbatchnorm"),
    ("fusedbatchnormv3", 5, "fusedbatchnorm"), ("identity", 25, "identity"), ("input", 1, "input"),
    ("matmul", 8, "matmul"), ("maxpool", 12, "maxpool"), ("mean", 19, "mean"), ("output", 2, "output"),
    ("output_aux", 2, "output"), ("paddings", 18, "paddings"), ("relu", 6, "relu"), ("relu", 7, "relu"),
    ("relu6", 7, "relu"),
]  # fmt: skip


@pytest.mark.parametrize(("label", "index", "op_name"), PUBLISHED)
@pytest.mark.parametrize("number", ["", "_1", "_107"])
def test_published_labels_keep_their_index_and_name(op2i, label, index, op_name, number):
    operation = operation_of(label + number, index)
    assert (operation.index, operation.op_name) == (index, op_name)
    if (label, index) not in (("relu", 7), ("output_aux", 2)):  # these two only the index tells
        assert op2i[label + number] == op2i[label.upper() + number] == index


@pytest.mark.parametrize(
    ("label", "index", "name"),
    [
        ("conv2d_transpose", 3, "conv2d_transpose"), ("conv2d_transpose_4", 3, "conv2d_transpose"),
        ("depthwise_conv2d_2", 4, "depthwise"), ("addv2", 9, "add"), ("cat", 11, "concat"),
        ("concatv2_3", 11, "concat"),
        ("batchmatmulv2", 8, "matmul"), ("my_add", 9, "add"), ("block1_add_12", 9, "add"), ("x_relu6", 7, "relu6"),
        ("input_image", 1, "input"), ("bn_fusedbatchnormv3_1", 5, "batchnorm"),
    ],
)  # fmt: skip
def test_other_labels_of_files_that_exist(label, index, name):
    assert operation_of(label, index).name == name


@pytest.mark.parametrize(
    ("label", "index", "reason"),
    [
        ("coolswish", 16, "unknown operation 'coolswish'"),  # once read as swish, at no cost
        ("cool_swish_1", 16, "unknown operation 'cool_swish_1'"),
        ("celu", 6, "unknown operation 'celu'"),
        ("addcmul", 9, "unknown operation 'addcmul'"),
        ("biasadd", 9, "unknown operation"),
        ("meanx", 19, "unknown operation"),
        ("relu", 12, "its label says relu, its index 12 says maxpool"),
        ("conv2d_transpose", 4, "its label says conv2d_transpose, its index 4 says depthwise"),
        ("relu", 0, "unknown operation"),
        ("relu", 27, "unknown operation"),
        ("relu", -1, "unknown operation"),
        ("relu", 999, "unknown operation"),
        ("reserved1", 27, "unknown operation"),
    ],
)
def test_no_label_becomes_another_operation(op2i, label, index, reason):
    with pytest.raises(ValueError, match=f"{reason}|unknown operation"):
        operation_of(label, index)
    if OPERATIONS.find(label) is None and label not in vocabulary():
        assert op2i[label] == 0
        assert label not in op2i
    node = regular("n", label, index, 4, 4)
    graph = ComputeGraph.from_nodes("odd", (1, 4, 4, 4), [node], [])
    for ask in (lambda: node.op_name, lambda: graph_macs(graph), lambda: canonical_hash(graph)):
        with pytest.raises(ValueError, match=rf"node n \({label}\): {reason}"):
            ask()


def test_kind_of_node_and_operation_agree():
    with pytest.raises(ValueError, match=r"node c \(conv2d\): a conv has a kernel, unlike this node"):
        _ = regular("c", "conv2d", 3, 4, 4).operation
    with pytest.raises(ValueError, match="a relu has no kernel, unlike this node"):
        _ = replace(conv("c", 4, 4, 4), label="relu", op_type_idx=6).operation


def test_the_vocabulary_file_is_the_published_one():
    assert N_PUBLISHED == 26
    assert len(vocabulary()) == 31
    assert vocabulary()[26:] == tuple(f"reserved{i}" for i in range(1, 6))
    published = [row for row in OPERATIONS if row.seen_as == row.name]
    assert [row.name for row in published] == sorted(vocabulary()[:26], key=vocabulary().index)
    assert [row.index for row in published] == list(range(1, 27))


@pytest.mark.parametrize("row", list(OPERATIONS), ids=lambda row: row.name)
def test_rows_are_consistent(row):
    assert 1 <= row.index <= 31
    assert OPERATIONS[row.name] is OPERATIONS.find(row.label) is OPERATIONS.find(f"{row.name}_7") is row
    assert all(name == name.lower() for name in row.names)
    assert not (row.kind is Kind.FIXED and row.is_mutable)
    assert (row.channels is Channels.SUMMED) <= row.is_merge
    assert row.has_parameters or row.kind is not Kind.WEIGHTED
    assert row.backends


def test_families_name_operations_that_exist():
    names = {row.op_name for row in OPERATIONS}
    assert all(ops <= names for ops in constants.OPS.values())


def test_mutations_leave_these_alone():
    assert {row.op_name for row in OPERATIONS if not row.is_mutable} == {
        "input", "output", "matmul", "mean", "global", "paddings", "spacetobatchnd", "batchtospacend",
        "spacetodepthnd", "depthtospacend", "conv2d_transpose", "resize", "globalmax", "pad_channels", "lrn",
        "slice", "gather", "shuffle", "broadcast", "port", "softmax", "groupnorm", "opaque",
    }  # fmt: skip


def test_two_operations_never_share_a_name():
    table = OperationTable([Operation("relu", Kind.POINTWISE, cost.free, aliases=("rectified",))])
    with pytest.raises(ValueError, match="'rectified' is a name of operation 'relu' already"):
        table.add(Operation("rectified", Kind.POINTWISE, cost.free))
    with pytest.raises(ValueError, match=r"unknown operation 'tanh'; operations are registered in .*ops\.py"):
        _ = table["tanh"]


@pytest.fixture
def mish(monkeypatch) -> Operation:
    """An operation that predictors see as swish."""
    table = OperationTable(OPERATIONS)
    row = Operation("mish", Kind.POINTWISE, cost.output_macs, seen_as="swish")
    table.add(row)
    for module in ("ops", "tf_comp_graph"):
        monkeypatch.setattr(f"model_src.comp_graph.{module}.OPERATIONS", table)
    operation_of.cache_clear()
    yield row
    operation_of.cache_clear()


def test_a_new_operation_is_itself_whatever_predictors_see(op2i, mish):
    assert op2i["mish"] == op2i["mish_2"] == 16 == mish.index
    new, old = regular("a", "mish_2", 16, 4, 3), regular("a", "swish", 16, 4, 3)
    assert (new.operation, new.op_name, old.op_name) == (mish, "mish", "swish")
    graphs = [ComputeGraph.from_nodes("g", (1, 4, 4, 3), [node], []) for node in (new, old)]
    assert canonical_hash(graphs[0]) != canonical_hash(graphs[1])
    assert [compute_cg_flops(graph, op2i, div=1) for graph in graphs] == [2 * 4 * 4 * 3] * 2


def test_costs_of_one_node(op2i):
    same = regular("r", "relu", 6, 4, 3)
    assert cost.node_macs(same) == cost.node_macs(same, 0) == 48
    assert cost.node_macs(same, 2) == 96
    add, concat = regular("a", "add", 9, 4, 3), regular("c", "concat", 11, 4, 3)
    assert [cost.node_macs(add, n) for n in range(4)] == [48, 0, 96, 144]
    assert [cost.node_macs(concat, n) for n in range(3)] == [0, 0, 0]
    wide = regular("b", "fusedbatchnorm", 5, 4, 3)
    assert cost.node_macs(wide) == 2 * 48
    assert cost.node_macs(regular("s", "swish", 16, 4, 3)) == 48
    assert cost.node_macs(regular("g", "gelu", 17, 4, 3)) == 0


def test_a_grouped_convolution_costs_its_share_and_is_seen_as_a_convolution(op2i):
    whole, grouped = (conv("g", 8, 6, 4, use_bias=True, **more) for more in ({}, {"groups": 2}))
    assert cost.node_macs(grouped) == 9 * 6 * 4 * 64 // 2 + 4 * 64
    assert cost.node_macs(whole) == 9 * 6 * 4 * 64 + 4 * 64
    assert op2i[grouped.label] == grouped.op_type_idx == whole.op_type_idx
    assert (grouped.op_name, grouped.groups, whole.groups) == ("grouped_conv", 2, 1)
    assert grouped.digest != whole.digest != conv("g", 8, 6, 4, use_bias=True, groups=1).digest
    for groups in (4, 3, 0, -2, "2", 1.5):
        with pytest.raises(ValueError, match=r"node g \(grouped_conv\): 6 input and 4 output .* are not .* equal"):
            cost.node_macs(conv("g", 8, 6, 4, groups=groups))


def test_a_transposed_convolution_costs_a_kernel_per_pixel_that_it_reads():
    node = replace(
        conv("t", 8, 6, 4, groups=2, use_bias=True), label="conv2d_transpose", resolution=(8, 16, 8, 16, 6, 4)
    )
    assert cost.node_macs(node) == 9 * 6 * 4 * 64 // 2 + 4 * 256
    assert node.operation.parameters(node) == 9 * 6 * 4 // 2 + 4


def test_a_merge_with_a_single_input_costs_nothing(op2i):
    nodes = [conv("c", 8, 3, 8), regular("i", "input", 1, 8, 3), regular("m", "mul", 10, 8, 8)]
    graph = ComputeGraph.from_nodes("single", (1, 8, 8, 3), nodes, [(1, 0), (0, 2)])
    assert graph_macs(graph) == 9 * 3 * 8 * 64


def test_parameters_of_nodes():
    nodes = [
        conv("c", 8, 3, 8, kernel=5),
        replace(conv("b", 8, 3, 8, use_bias=True), shape=(3, 8, 1, 3)),
        replace(conv("d", 8, 6, 6), label="depthwise", op_type_idx=4, shape=(6, 1, 3, 5)),
        replace(conv("m", 1, 6, 10), label="matmul", op_type_idx=8, shape=(6, 10, 0, 0)),
        regular("n", "fusedbatchnormv3", 5, 8, 7),
        regular("r", "relu", 6, 8, 7),
        conv("g", 8, 6, 4, groups=2, use_bias=True),
    ]
    expected = [25 * 24, 3 * 24 + 8, 15 * 6, 60 + 10, 14, 0, 9 * 24 // 2 + 4]
    assert [node.operation.parameters(node) for node in nodes] == expected
    graph = ComputeGraph.from_nodes("all", (1, 8, 8, 3), nodes, [])
    assert parameter_count(graph) == sum(expected)


def test_parameters_are_those_of_the_network(tiny_graph):
    pytest.importorskip("torch")
    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
    from tests.comp_graph.exporters.test_files import everything

    for graph in (tiny_graph, everything()):
        network = build_torch_network(graph, squeeze_output=False)
        assert parameter_count(graph) == sum(math.prod(weight.shape) for weight in network.parameters())
