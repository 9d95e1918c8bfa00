"""TensorFlow graphs of which only the part in front of a tensor is read; what comes behind goes along."""

import re

import numpy as np
import onnx
import pytest

from model_src.comp_graph.exporters.files import export_network, network_of
from model_src.comp_graph.importers.onnx.runtime import OnnxRun
from model_src.comp_graph.importers.tensorflow import load_pb, rest
from model_src.comp_graph.importers.tensorflow.values import run
from model_src.comp_graph.inheritance import all_of
from model_src.comp_graph.load import load_part
from model_src.files import InputError

tf = pytest.importorskip("tensorflow")
saved_model_pb2 = pytest.importorskip("tensorflow.core.protobuf.saved_model_pb2")
v1 = tf.compat.v1
SHAPE = (None, 16, 16, 3)


def kernel(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32) / 4


def features(image):
    return tf.nn.relu(tf.nn.conv2d(image, kernel(3, 3, 3, 8), 2, "SAME", name="stem"), name="features")


def heads(image):
    """A backbone, a neck with a shortcut, and heads with operations that no graph can hold."""
    y = features(image)
    z = tf.add(y, tf.nn.conv2d(y, kernel(3, 3, 8, 8), 1, "SAME", name="neck"), name="sum")
    best = tf.math.top_k(tf.nn.softmax(tf.reduce_mean(z, [1, 2]) @ kernel(8, 4)), 2, name="best")
    mask = tf.image.resize(tf.nn.conv2d(z, kernel(1, 1, 8, 2), 1, "SAME"), (16, 16))
    return {"map": tf.argmax(mask, -1), "mask": mask, "score": best.values, "which": best.indices}


def sized(image):
    """Heads that need the image's size, and boxes of which nobody knows how many are left."""
    y = features(image)
    boxes, scores = tf.reshape(y, (-1, 4)), tf.reshape(y[..., :2], (-1,))
    kept = tf.gather(boxes, tf.image.non_max_suppression(boxes, scores, 5))
    return {"kept": kept, "mask": tf.image.resize(y, tf.shape(image)[1:3])}


def frozen(path, body, change=None, shape=SHAPE):
    """What a function makes of an image, as a file; the names of results are those of nodes."""
    with tf.Graph().as_default() as graph:
        made = body(v1.placeholder(tf.float32, shape, name="image"))
        for name, tensor in made.items():
            tf.identity(tensor, name=name)
    graph_def = graph.as_graph_def()
    if change is not None:
        change({node.name: node for node in graph_def.node})
    path.write_bytes(graph_def.SerializeToString())
    return path


def saved(path, body):
    """The same as a SavedModel, whose signature tells the names of results."""
    module = tf.Module()
    module.run = tf.function(body, input_signature=[tf.TensorSpec(SHAPE, tf.float32, name="image")])
    tf.saved_model.save(module, str(path), {"serving_default": module.run})
    return path


def results(found, folder, count=3):
    """Of the ONNX file of what was read, with the rest behind it: images, and what it makes of them."""
    (graph, weights), behind = found
    network = network_of(graph, inherited=all_of(weights))
    (path,) = export_network(graph, folder / "whole", ["onnx"], network, behind)
    model, images = onnx.load(path), np.random.default_rng(1).standard_normal((count, 3, 16, 16), np.float32)
    onnx.checker.check_model(model, full_check=True)
    names = [value.name for value in model.graph.output]
    return images.transpose(0, 2, 3, 1), dict(zip(names, OnnxRun(model, (16, 16, 3)).results(images), strict=True))


def compare(given, wanted):
    for name, one in given.items():
        np.testing.assert_allclose(one, wanted[name], rtol=1e-4, atol=1e-5)


def test_a_frozen_function_waits_for_nothing(tmp_path):
    """Its results wait for a `NoOp`, as freezing leaves them."""

    def heads_alone(image):
        y = features(image)
        return tf.reduce_mean(y, [1, 2]) @ kernel(8, 4), tf.math.top_k(tf.reduce_max(y, [1, 2]), 2).values

    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    concrete = tf.function(heads_alone).get_concrete_function(tf.TensorSpec((1, 16, 16, 3), tf.float32, name="image"))
    graph_def = convert_variables_to_constants_v2(concrete).graph.as_graph_def()
    if not any(source.startswith("^") for node in graph_def.node for source in node.input):
        graph_def.node.add(name="NoOp", op="NoOp")
        next(node for node in graph_def.node if node.name == "Identity").input.append("^NoOp")
    path = tmp_path / "net.pb"
    path.write_bytes(graph_def.SerializeToString())
    images, given = results(load_part(path, "features"), tmp_path, 1)
    wanted = run(graph_def, list(given), [("image", images)])
    compare(given, dict(zip(given, wanted, strict=True)))


@pytest.mark.parametrize("node", ["features", "sum"])
@pytest.mark.parametrize("write", [frozen, saved])
def test_a_network_goes_on_behind_its_part(tmp_path, caplog, write, node):
    path = write(tmp_path / "net.pb", heads)
    found = load_part(path, node)
    images, given = results(found, tmp_path)
    assert not caplog.records
    assert found[0].graph.n_nodes < 8
    assert list(given) == ["map", "mask", "score", "which"]
    compare(given, heads(images))


@pytest.mark.parametrize("write", [frozen, saved])
def test_sizes_of_the_image_are_kept_and_what_has_no_size_is_not_compared(tmp_path, caplog, write):
    found = load_part(write(tmp_path / "net.pb", sized), "features")
    assert "not compared with the original, since their sizes depend on what is in an image: 'kept'" in caplog.text
    images, given = results(found, tmp_path, 1)
    assert given["kept"].shape == (5, 4)
    compare(given, sized(images))


@pytest.mark.parametrize("results_of_it", [True, False])
def test_the_tensor_may_be_a_result(tmp_path, results_of_it):
    def body(image):
        y = features(image)
        return {"features": y, "again": y, "more": y * 2} if results_of_it else {"features": y, "other": image * 2}

    path = saved(tmp_path / "net", body)
    if results_of_it:
        images, given = results(load_part(path, "features"), tmp_path)
        compare(given, body(images))
    else:
        refused(path, "-output_node features: not all outputs come from it: 'other'")


@pytest.mark.parametrize("name", ["PartitionedCall:9", "PartitionedCall:-1", "PartitionedCall:x", "^PartitionedCall"])
def test_a_signature_names_tensors_that_are_there(tmp_path, name):
    path = saved(tmp_path / "net", heads)
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    model.meta_graphs[0].signature_def["serving_default"].outputs["map"].name = name
    file.write_bytes(model.SerializeToString())
    refused(path, f"(its signature names a|there is no) tensor '{re.escape(name)}'")


def test_one_of_several_tensors_of_an_operation(tmp_path):
    def halves(image):
        _, right = tf.split(features(image), 2, -1, name="two")
        return {"means": tf.reduce_mean(right, [1, 2]), "top": tf.nn.relu(right)}

    path = frozen(tmp_path / "net.pb", halves)
    images, given = results(load_part(path, "two:1"), tmp_path)
    compare(given, halves(images))


def test_results_are_all_that_an_operation_gives_under_names_of_their_own(tmp_path):
    def body(image):
        tf.math.top_k(features(image), 3, name="best")
        return {}

    images, given = results(load_part(frozen(tmp_path / "net.pb", body), "features"), tmp_path)
    compare(given, dict(zip(("best", "best:1"), tf.math.top_k(features(images), 3), strict=True)))


def test_functions_of_a_frozen_graph_are_looked_into(tmp_path):
    def body(image):
        made = tf.function(heads)(image)
        return {name: made[name] for name in ("mask", "score")}

    path = frozen(tmp_path / "net.pb", body)
    assert len(v1.GraphDef.FromString(path.read_bytes()).library.function) == 1
    images, given = results(load_part(path, "PartitionedCall/features"), tmp_path)
    compare(given, heads(images))


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("neck", "what comes behind it also needs 'features'"),
        ("Softmax", "not all outputs come from it: 'map', 'mask'"),
        ("feature", "no tensor or operation has this name; close are 'features'"),
        ("features:1", "no tensor or operation has this name; close are 'features'"),
        ("best", "it gives several tensors; name one of '(.*/)?best', "),
    ],
)
@pytest.mark.parametrize("write", [frozen, saved])
def test_what_a_network_cannot_be_cut_at_is_refused(tmp_path, write, node, reason):
    refused(write(tmp_path / "net.pb", heads), f"-output_node {node}: {reason}", node)


def refused(path, reason, node="features"):
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {reason}") as error:
        load_part(path, node)
    assert "\n" not in str(error.value)


def test_what_is_no_result_on_the_image_or_the_last_one_is_refused(tmp_path):
    path = frozen(tmp_path / "net.pb", lambda image: {"out": features(image) * 2})
    for node in ("image", "stem/filter"):
        refused(path, f"-output_node {node}: it is no result of an operation on the image", node)
    refused(path, "-output_node out: nothing comes behind it; leave the flag out", "out")
    two = frozen(tmp_path / "two.pb", lambda image: {"right": tf.split(features(image), 2, -1, name="two")[1]})
    refused(two, "-output_node two:0: no output depends on it", "two:0")
    whole = frozen(tmp_path / "whole.pb", lambda image: {"out": tf.cast(features(image), tf.int32, name="cast") * 2})
    refused(whole, r".*'cast' \(Cast\): it cannot be represented", "cast")


def loop(image):
    number = tf.TensorSpec(())
    less, same = (tf.function(one).get_concrete_function(number) for one in (lambda x: x < 1, lambda x: x + 0))
    return tf.raw_ops.StatelessWhile(input=[tf.reduce_mean(features(image))], cond=less, body=same, name="loop")[0]


def doubled(image):
    y = features(image)
    for _ in range(40):
        y = tf.concat([y, y], 1)
    return y


def of_the_size_of_a_map(image):
    return tf.fill(tf.shape(features(image))[1:3] * (1 << 16), 1.0)


def with_a_file(image):
    return features(image) + tf.strings.to_number(tf.io.read_file("/dev/zero", name="file"))


HOSTILE = {
    with_a_file: r"node 'file' \(ReadFile\): it cannot be represented",
    loop: r"node 'loop' \(StatelessWhile\): it cannot be represented",
    lambda image: tf.sin(tf.numpy_function(len, [features(image)], tf.float32, name="code")): r"'code' \(PyFunc\)",
    lambda image: features(image) * tf.random.uniform((8,)): r"\(RandomUniform\): it cannot be represented",
    lambda image: tf.signal.fft(tf.cast(features(image), tf.complex64)): r"\(FFT\): it cannot be represented",
    lambda image: tf.strings.as_string(features(image)): r"\(AsString\) gives text",
    lambda image: features(image) * tf.reduce_sum(tf.fill((1 << 15, 1 << 15), 1.0)): "more than 16777216 numbers",
    lambda image: features(image) * v1.placeholder(tf.float32, (), "by"): r"'by' \(Placeholder\) depends on no image",
    doubled: "what comes behind makes more than 536870912 numbers",
    of_the_size_of_a_map: "constants have more than 16777216 numbers",
}


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_behind_it_nothing_runs_code_or_costs_more_than_its_size(tmp_path, place):
    body, reason = list(HOSTILE.items())[place]
    refused(frozen(tmp_path / "net.pb", lambda image: {"out": body(image)}), f".*{reason}")


def test_results_of_unknown_size_are_not_computed(tmp_path, caplog):
    def body(image):
        sizes = tf.cast(tf.reduce_max(features(image), [0, 1, 2])[:2] * 1e9, tf.int32)
        return {"out": tf.fill(sizes, 1.0)}

    load_part(frozen(tmp_path / "net.pb", body), "features")
    assert "not compared with the original" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda nodes: nodes["sum"].input.__setitem__(1, "nowhere"), "Unknown input node 'nowhere'"),
        (lambda nodes: nodes["sum"].input.__setitem__(1, "neck:7"), "invalid output 7"),
        (lambda nodes: nodes["neck"].input.__setitem__(0, "mask"), "-output_node features: .*|cycle"),
        (lambda nodes: setattr(nodes["neck"], "name", "stem"), "found none"),
        (lambda nodes: setattr(nodes["neck"], "op", "Mine"), r"node 'neck' \(Mine\): it cannot be represented"),
    ],
)
def test_damaged_graphs_are_refused_in_one_line(tmp_path, change, reason):
    refused(frozen(tmp_path / "net.pb", heads, change), f".*{reason}")


def test_a_rest_that_gives_something_else_is_an_error(tmp_path, monkeypatch):
    def wrong(*args):
        model = converted(*args)
        (one,) = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [8, 4])
        one.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one)[:, ::-1].copy(), one.name))
        return model

    converted, path = rest.rest_in_onnx, frozen(tmp_path / "net.pb", heads)
    monkeypatch.setattr(rest, "rest_in_onnx", wrong)
    with pytest.raises(InputError, match="with what comes behind it, result 3 is another than the original's"):
        load_pb(path, output_node="features")
    assert load_pb(path, output_node="features", check=False).rest is not None


def test_a_number_of_images_that_the_file_says_is_kept(tmp_path):
    def body(image):
        return {"flat": tf.reshape(features(image), (1, -1))}

    path = frozen(tmp_path / "net.pb", body, shape=(1, *SHAPE[1:]))
    images, given = results(load_part(path, "features"), tmp_path, 1)
    graph_def = v1.GraphDef.FromString(path.read_bytes())
    compare(given, {"flat": run(graph_def, ["flat"], [("image", images)])[0]})
