"""Keras and TensorFlow files that ask for more than they are, and operations that must not be run."""

import json
import os
import zipfile
from copy import deepcopy

import numpy as np
import pytest

from model_src.comp_graph.importers.tensorflow.limits import check_functions
from model_src.comp_graph.importers.tensorflow.values import imported
from model_src.comp_graph.load import load_cg
from model_src.files import InputError
from tests.comp_graph.importers.keras_models import small, tf

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The parts of a `.keras` file by name."""
    path = tmp_path_factory.mktemp("keras") / "a.keras"
    small().save(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path, parts, how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", how) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def with_layer(archive, kind, **changes):
    """The archive, with fields of the first layer of a kind changed in the configuration."""
    config = json.loads(archive["config.json"])
    layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == kind)
    layer["config"] |= changes
    return archive | {"config.json": json.dumps(config)}


def refused(path, reason):
    with pytest.raises(InputError, match=reason) as caught:
        load_cg(path)
    assert str(path) in str(caught.value)


def test_configurations_are_measured_before_they_are_unpacked(archive, tmp_path):
    refused(write(tmp_path / "a.keras", archive | {"config.json": b" " * (1 << 26)}), "grows|configuration has more")
    refused(write(tmp_path / "a.keras", {"x": b"" * 9}), "no configuration|Could not|Keras")


def test_layers_are_no_larger_than_their_stored_weights(archive, tmp_path):
    refused(write(tmp_path / "a.keras", with_layer(archive, "Dense", units=10**9)), "a.keras: ")
    refused(write(tmp_path / "a.keras", with_layer(archive, "Conv2D", filters=10**9)), "a.keras: ")


def test_models_in_models_do_not_double_and_double(archive, tmp_path):
    model = json.loads(archive["config.json"])
    for _ in range(30):
        outer = deepcopy(json.loads(archive["config.json"]))
        layers = outer["config"]["layers"]
        layers.append({**model, "name": "inner", "inbound_nodes": [{"args": []}, {"args": []}]})
        outer["config"]["layers"] = layers[-1:]
        model = outer
    refused(
        write(tmp_path / "a.keras", archive | {"config.json": json.dumps(model)}), "nested more|more than 20000 layers"
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_weights_point_to_no_other_file(archive, tmp_path, suffix):
    h5py = pytest.importorskip("h5py")
    path, secret = tmp_path / f"a{suffix}", tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones(3)
    weights = path if suffix == ".h5" else tmp_path / "model.weights.h5"
    with h5py.File(weights, "w") as file:
        file["x"] = h5py.ExternalLink(str(secret), "x")
    if suffix == ".keras":
        write(path, archive | {"model.weights.h5": weights.read_bytes()})
    refused(path, "point elsewhere at 'x'")


def frozen(path, nodes):
    """A graph that adds what such nodes give to an image."""
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, 3), name="input")
        tf.identity(tf.nn.relu(image + nodes()), name="output")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def changed(path, name, value):
    """The graph in a file, with another value of a constant."""
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    (node,) = (node for node in graph_def.node if node.name == name)
    node.attr["value"].tensor.CopyFrom(value)
    path.write_bytes(graph_def.SerializeToString())
    return graph_def


def test_no_file_is_read_and_nothing_loops(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def reads():
        return tf.reshape(tf.io.decode_raw(tf.io.read_file(str(pipe)), tf.float32)[:3], (1, 1, 1, 3))

    def loops():
        return tf.raw_ops.StatelessWhile(
            input=[tf.zeros(3)],
            cond=tf.function(lambda x: x[0] < 1).get_concrete_function(tf.TensorSpec(3)),
            body=tf.function(lambda x: x).get_concrete_function(tf.TensorSpec(3)),
        )[0]

    refused(
        frozen(tmp_path / "a.pb", reads), r"ReadFile|ParseTensor|DecodeRaw|not computed beforehand|no graph can hold"
    )
    refused(frozen(tmp_path / "a.pb", loops), "While|not computed beforehand|expected one output")


def test_constants_have_a_size(tmp_path):
    refused(
        frozen(tmp_path / "a.pb", lambda: tf.reduce_sum(tf.fill((1 << 20, 1 << 20), 1.0))), "more than 16777216 numbers"
    )


def size_by_computation():
    """A weight whose size is computed of many numbers."""
    many = tf.reduce_sum(tf.raw_ops.Fill(dims=tf.constant([1, 1], name="sizes"), value=1))
    return tf.reshape(tf.constant([1.0, 2, 3]), tf.stack([tf.minimum(many, 1) * 3]))


def size_by_the_image():
    many = tf.reduce_sum(tf.raw_ops.Fill(dims=tf.shape(tf.zeros((1, 1))) * tf.constant([1, 1], name="sizes"), value=1))
    return tf.reshape(tf.constant([1.0, 2, 3]), tf.stack([tf.minimum(many, 1) * 3]))


@pytest.mark.parametrize("nodes", [size_by_computation, size_by_the_image])
@pytest.mark.parametrize("lenient", [True, False])
def test_what_a_size_is_computed_from_is_small(tmp_path, nodes, lenient):
    path = frozen(tmp_path / "a.pb", nodes)
    assert load_cg(path, lenient_pb=lenient).n_nodes > 1
    graph_def = changed(path, "sizes", tf.make_tensor_proto([1 << 13, 1 << 13]))
    with pytest.raises(ValueError, match="more than 16777216 numbers"):
        imported(graph_def)
    with pytest.raises(InputError, match="more than 16777216 numbers"):
        load_cg(path, lenient_pb=lenient)


def test_constants_that_say_one_number_for_many_are_small(tmp_path):
    path = frozen(tmp_path / "a.pb", lambda: tf.reduce_max(tf.constant([1.0, 2], name="many")))
    many = tf.make_tensor_proto([1.0])
    many.tensor_shape.dim[0].size = 1 << 10
    changed(path, "many", many)
    assert load_cg(path).n_nodes > 1
    many.tensor_shape.dim[0].size = 1 << 25
    changed(path, "many", many)
    refused(path, "more than 16777216 numbers")


@pytest.mark.parametrize("is_constant", [True, False])
def test_long_texts_are_not_repeated(tmp_path, is_constant):
    def nodes():
        text = tf.constant(["x" * 10_000], name="text")
        return tf.strings.to_number(tf.gather(text if is_constant else tf.tile(text, [1 << 20]), [0]))

    path = frozen(tmp_path / "a.pb", nodes)
    if is_constant:
        many = tf.make_tensor_proto(["x" * 10_000])
        many.tensor_shape.dim[0].size = 1 << 20
        changed(path, "text", many)
    with pytest.raises(ValueError, match=r"more than 16777216 numbers|gives text"):
        imported(tf.compat.v1.GraphDef.FromString(path.read_bytes()))


def test_constants_that_form_a_cycle_are_refused(tmp_path):
    path = frozen(tmp_path / "a.pb", lambda: tf.identity(tf.identity(tf.zeros(3), name="one"), name="two"))
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    next(node for node in graph_def.node if node.name == "one").input[0] = "two"
    path.write_bytes(graph_def.SerializeToString())
    refused(path, "its nodes form a cycle")


@pytest.mark.parametrize(
    ("levels", "last", "reason"), [(31, "Relu", "more than 100000 op"), (3, "f0", "more than 100 deep")]
)
def test_functions_do_not_double_and_double(levels, last, reason):
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="x", op="f0")
    for number in range(levels):
        function = graph.library.function.add()
        function.signature.name = f"f{number}"
        for name in "ab":
            function.node_def.add(name=name, op=f"f{number + 1}" if number < levels - 1 else last)
    with pytest.raises(ValueError, match=reason):
        check_functions(graph)


def test_damaged_folders_are_refused_in_one_line(tmp_path):
    (tmp_path / "saved_model.pb").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"holds no saved_model|not a regular file"):
        load_cg(tmp_path)
