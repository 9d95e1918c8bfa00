"""The published reading of frozen TensorFlow graphs."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from constants import DOMAIN_NORMALISERS  # noqa: E402
from model_src.comp_graph.importers.tensorflow.frozen import from_graph_def, load_pb  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.files import InputError  # noqa: E402

KERNEL = np.zeros((3, 3, 3, 4), np.float32)


def traced(body, shape=(None, 8, 8, 3)):
    """The GraphDef of a network with a placeholder named `image`."""
    with tf.Graph().as_default() as graph:
        body(tf.compat.v1.placeholder(tf.float32, shape, name="image"))
    return graph.as_graph_def()


def summary(cg: ComputeGraph) -> list[tuple]:
    """(label, predecessors' labels) in topological order of the file."""
    return [(node.label, [cg.nodes[i].label for i in cg.predecessors[at]]) for at, node in enumerate(cg.nodes)]


def convolved(x):
    return tf.nn.conv2d(x, KERNEL, 1, "SAME")


def test_a_placeholder_takes_the_declared_or_the_given_size():
    graph_def = traced(lambda x: tf.nn.relu(convolved(x)), (None, 8, 8, 3))
    cg = from_graph_def(graph_def, "net")
    assert summary(cg) == [("conv2d", ["input"]), ("input", []), ("relu", ["conv2d"])]
    assert cg.input_shape == (1, 8, 8, 3)
    assert cg.nodes[0].shape == (3, 4, 3, 3)
    assert from_graph_def(graph_def, "net", (20, 12, 3)).nodes[0].resolution == (20, 20, 12, 12, 3, 4)
    open_size = traced(lambda x: tf.nn.relu(convolved(x)), (None, None, None, 3))
    assert from_graph_def(open_size, "net", (20, 12, 3)).input_shape == (1, 20, 12, 3)
    with pytest.raises(ValueError, match="size of the input 'image' is unknown"):
        from_graph_def(open_size, "net")
    with pytest.raises(ValueError, match="TensorFlow does not accept the graph"):
        from_graph_def(graph_def, "net", (8, 8, 5))


def test_other_placeholders_are_no_images():
    def body(x):
        rate = tf.compat.v1.placeholder(tf.float32, (), name="rate")
        flag = tf.compat.v1.placeholder(tf.bool, (None, 8, 8, 3), name="flag")
        return tf.nn.relu(tf.where(flag, x, x) * rate)

    assert summary(from_graph_def(traced(body), "net")) == [("input", []), ("relu", ["input"])]
    two = traced(lambda x: x + tf.compat.v1.placeholder(tf.float32, (1, 8, 8, 3), name="second"))
    with pytest.raises(ValueError, match=r"expected one input .*found 'image', 'second'"):
        from_graph_def(two, "net")


def test_operations_are_recognised_by_type():
    def body(x):
        left, right = tf.nn.relu(x, name="left"), tf.identity(x, name="block_mean")
        return tf.nn.relu(tf.add_n([left, right], name="sum"), name="add")

    assert summary(from_graph_def(traced(body), "net")) == [
        ("input", []),
        ("relu", ["input"]),
        ("identity", ["input"]),
        ("add", ["relu", "identity"]),
        ("relu", ["add"]),
    ]


def test_a_sum_with_itself_keeps_both_operands():
    cg = from_graph_def(traced(lambda x: tf.nn.relu(tf.add(x, x, name="add"))), "net")
    assert summary(cg) == [
        ("input", []),
        ("add", ["input", "identity"]),
        ("relu", ["add"]),
        ("identity", ["input"]),
    ]


def test_second_results_and_forward_references_are_followed():
    def body(x):
        first, second = tf.split(x, [1, 2], axis=3)
        return tf.concat([tf.nn.relu(first), tf.tanh(second)], 3)

    graph_def = traced(body)
    expected = [("input", []), ("relu", ["input"]), ("tanh", ["input"]), ("concat", ["relu", "tanh"])]
    assert summary(from_graph_def(graph_def, "net")) == expected
    nodes = list(graph_def.node)
    graph_def.ClearField("node")
    graph_def.node.extend(reversed(nodes))
    assert sorted(summary(from_graph_def(graph_def, "net"))) == sorted(
        (label, sources[::-1]) for label, sources in expected
    )


def test_kernels_and_biases_follow_their_data_edges():
    def body(x):
        kernel = tf.constant(np.zeros((3, 3, 3, 3), np.float32), name="kernel")
        first = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME", name="first"), np.ones(3, np.float32))
        second = tf.nn.conv2d(first, kernel, 2, "VALID", name="second")
        return tf.nn.conv2d(second, np.zeros((1, 1, 3, 5), np.float32), 1, "SAME", name="third") + np.ones(
            5, np.float32
        )

    first, second, third, _ = from_graph_def(traced(body), "net").nodes
    assert [node.shape for node in (first, second, third)] == [(3, 3, 3, 3), (3, 3, 3, 3), (3, 5, 1, 1)]
    assert [node.use_bias for node in (first, second, third)] == [True, False, True]
    assert second.strides == (1, 2, 2, 1)
    assert second.padding == "valid"
    assert second.resolution == (8, 3, 8, 3, 3, 3)


def test_a_dilated_convolution_is_a_triple_with_the_bias_on_the_last():
    def body(x):
        x = tf.space_to_batch_nd(x, [2, 2], [[2, 2], [2, 2]])
        x = tf.nn.conv2d(x, KERNEL, 1, "VALID")
        return tf.nn.bias_add(tf.batch_to_space(x, [2, 2], [[0, 0], [0, 0]]), np.ones(4, np.float32))

    conv, _, before, after = from_graph_def(traced(body, (1, 8, 8, 3)), "net").nodes
    assert (before.label, after.label) == ("spacetobatchnd", "batchtospacend")
    assert before.metadata == {"pad_h": (2, 2), "pad_w": (2, 2)}
    assert after.use_bias
    assert not conv.use_bias
    assert conv.resolution == (6, 4, 6, 4, 3, 4)
    assert after.resolution == (4, 8, 4, 8, 4, 4)


def test_padding_and_merges_with_constants():
    def body(x):
        x = tf.pad(x * 2.0 + 1.0, [[0, 0], [1, 2], [0, 3], [0, 0]])
        return tf.nn.relu(x * 3.0)

    cg = from_graph_def(traced(body), "net")
    assert summary(cg) == [("input", []), ("paddings", ["input"]), ("relu", ["paddings"])]
    assert cg.nodes[1].metadata == {"pad_h": (1, 2), "pad_w": (0, 3)}
    assert cg.nodes[1].resolution == (8, 11, 8, 11, 3, 3)


def test_dense_layers_and_flattening():
    def body(x):
        x = tf.reshape(tf.reduce_mean(x, (1, 2), name="pool"), (-1, 3))
        return tf.matmul(x, np.zeros((7, 3), np.float32), transpose_b=True) + np.zeros(7, np.float32)

    cg = from_graph_def(traced(body), "net")
    assert summary(cg) == [("matmul", ["mean"]), ("input", []), ("mean", ["input"])]
    assert cg.nodes[0].shape == (3, 7, 0, 0)
    assert cg.nodes[0].use_bias
    assert cg.nodes[2].resolution == (8, 1, 8, 1, 3, 3)


def test_sizes_read_from_the_image_are_no_data():
    def body(x):
        return tf.nn.relu(tf.reshape(tf.tanh(x), tf.shape(x)), name="relu")

    assert summary(from_graph_def(traced(body), "net", (8, 8, 3))) == [
        ("input", []),
        ("tanh", ["input"]),
        ("relu", ["tanh"]),
    ]


def test_inner_inputs_and_outputs_vanish_and_a_last_identity_is_the_output():
    def body(x):
        x = tf.nn.relu(tf.identity(x, name="input"), name="relu")
        return tf.identity(tf.identity(x, name="output"), name="Identity")

    assert summary(from_graph_def(traced(body), "net")) == [
        ("input", []),
        ("relu", ["input"]),
        ("output", ["relu"]),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda x: (tf.nn.relu(x), tf.tanh(x)), "expected one output node, found 2"),
        (lambda x: tf.nn.conv2d(x, KERNEL, 1, [[0, 0], [1, 0], [0, 1], [0, 0]]), "padded explicit"),
        (lambda x: tf.tanh(tf.reshape(x, (-1, 4, 4, 4, 3))), "only images .* and vectors"),
        (tf.nn.leaky_relu, r"'LeakyRelu' \(LeakyRelu\): it cannot be represented"),
        (lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), r"\(MirrorPad\): it cannot be represented"),
    ],
)
def test_what_cannot_be_represented_is_refused(body, reason):
    with pytest.raises(ValueError, match=reason):
        from_graph_def(traced(body), "net")


def test_given_normalisers_win_and_are_completed(caplog):
    graph_def = traced(lambda x: tf.nn.relu(convolved(x)))
    cg = from_graph_def(graph_def, "net", normalisers={"max_derived_H": 6, "max_hidden_size": 1})
    assert cg.normalisers == {"max_hidden_size": 1, "max_kernel_size": 3, "max_derived_H": 6, "max_derived_W": 8}
    assert [record.getMessage() for record in caplog.records] == ["the graph's max_derived_H is 8, above the given 6"]


def test_files_that_are_no_graph_are_refused_in_one_line(tmp_path):
    path = tmp_path / "net.pb"
    with pytest.raises(InputError, match=r"net\.pb: No such file"):
        load_pb(path)
    for content in (b"", b"hello, this is text", bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"net\.pb: not a frozen TensorFlow graph") as error:
            load_cg(path, 8, 8, 3)
        assert "\n" not in str(error.value)
    graph_def = traced(lambda x: tf.nn.relu(x))
    graph_def.node[-1].op = "NoSuchOperation"
    path.write_bytes(graph_def.SerializeToString())
    with pytest.raises(InputError, match=r"net\.pb: TensorFlow does not accept the graph: .*NoSuchOperation"):
        load_pb(path)
    with pytest.raises(InputError, match="height, width and channels, or none"):
        load_pb(path, 8, 8)


def test_a_file_is_named_after_itself_under_domain_normalisers(tmp_path):
    path = tmp_path / "net.pb"
    path.write_bytes(traced(lambda x: tf.nn.relu(convolved(x))).SerializeToString())
    cg = load_cg(path, 16, 16, 3)
    assert cg.nodes == load_pb(path, 16, 16, 3).nodes
    assert cg.name == "net"
    assert cg.input_shape == (1, 16, 16, 3)
    assert cg.normalisers == DOMAIN_NORMALISERS
