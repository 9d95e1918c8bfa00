"""Keras files and SavedModel folders give the graph and the weights of the model in Python."""

import zipfile

import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

from constants import DOMAIN_NORMALISERS  # noqa: E402
from model_src.comp_graph.graph_ops import same_topology  # noqa: E402
from model_src.comp_graph.importers.tensorflow import from_keras, load_keras, load_saved_model  # noqa: E402
from model_src.comp_graph.load import load_cg, load_network  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.comp_graph.importers.keras_models import LIMIT, between, difference, small  # noqa: E402

# Keras' own, on numpy 2.4.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def save(model, path) -> None:
    """As `.keras`, `.h5`, or as one of the two kinds of SavedModel that Keras 3 and TensorFlow write."""
    if path.suffix in (".keras", ".h5"):
        model.save(path)
    elif path.name == "exported":
        model.export(path, verbose=False)
    else:
        tf.saved_model.save(model, str(path))


FORMS = ("net.keras", "net.h5", "exported", "saved")


def read(path):
    return load_saved_model(path) if path.is_dir() else load_keras(path)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_model_gives_the_same_network(tmp_path, name):
    model = small()
    save(model, tmp_path / name)
    cg = load_cg(tmp_path / name, 16, 16, 3)
    assert same_topology(cg, from_keras(model).graph)
    assert (cg.name, cg.input_shape) == (name.split(".")[0], (1, 16, 16, 3))
    assert cg.normalisers == DOMAIN_NORMALISERS
    assert load_cg(tmp_path / name).input_shape == (1, 16, 16, 3)
    assert difference(model, read(tmp_path / name)) <= LIMIT
    assert load_network(tmp_path / name).weights


@pytest.mark.parametrize("name", ["net.keras", "exported"])
def test_open_sizes_are_taken_from_the_caller(tmp_path, name):
    image = keras.Input((None, None, 3))
    save(keras.Model(image, keras.layers.Conv2D(4, 3, padding="same")(image)), tmp_path / name)
    assert load_cg(tmp_path / name, 20, 12, 3).nodes[0].resolution == (20, 20, 12, 12, 3, 4)
    with pytest.raises(InputError, match=f"{name}: the .*input.* (give|is no fixed)"):
        load_cg(tmp_path / name)
    with pytest.raises(InputError, match="give input height, width and channels, or none"):
        load_cg(tmp_path / name, 20)


def test_models_with_several_outputs_are_refused(tmp_path):
    image = keras.Input((8, 8, 3))
    x = keras.layers.ReLU()(image)
    save(keras.Model(image, [x, keras.layers.Activation("tanh")(x)]), tmp_path / "exported")
    with pytest.raises(InputError, match=r"exported: expected one output, found 'output_0', .*-output_node"):
        load_cg(tmp_path / "exported")


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_files_that_would_run_code_are_refused(tmp_path, name):
    image = keras.Input((8, 8, 3))
    save(keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image)), tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: .*[Ll]ambda") as error:
        load_cg(tmp_path / name)
    assert "\n" not in str(error.value)


def test_operations_that_act_on_files_are_refused_and_not_run(tmp_path):
    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")])
        def __call__(self, image):
            tf.io.write_file(str(tmp_path / "written"), "by a model")
            with tf.control_dependencies([tf.io.write_file(str(tmp_path / "written"), "by a model")]):
                return tf.nn.relu(image + tf.strings.to_number(tf.io.read_file(str(tmp_path / "read"))))

    model = Writes()
    tf.saved_model.save(model, str(tmp_path / "saved"), {"serving_default": model.__call__})
    with pytest.raises(InputError, match=r"saved: node '.*ReadFile' \(ReadFile\): it cannot be represented"):
        load_cg(tmp_path / "saved")
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("name", FORMS)
def test_refusals_name_layers(tmp_path, name):
    save(between(keras.ops.sort), tmp_path / name)
    reason = r"node '.*/TopKV2' \(TopK\): it cannot be represented|Unknown layer: 'Sort'"  # Keras does not read its .h5
    with pytest.raises(InputError, match=f"{name}: ({reason})"):
        load_cg(tmp_path / name)


def test_what_is_no_model_is_refused_in_one_line(tmp_path):
    save(small(), tmp_path / "net.keras")
    content = (tmp_path / "net.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: len(content) // 2])
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("hello.txt", "hello")
    for name, reason in (
        ("none.keras", "No such file"),
        ("cut.keras", "not a Keras file, or cut short"),
        ("other.keras", ""),
    ):
        with pytest.raises(InputError, match=f"{name}: {reason}") as error:
            load_cg(tmp_path / name)
        assert "\n" not in str(error.value)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError, match=r"folder: holds no saved_model\.pb"):
        load_cg(folder)
    (folder / "saved_model.pb").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"folder: saved_model\.pb is no SavedModel, or cut short"):
        load_cg(folder)
    (folder / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match="folder: no signature 'serving_default'"):
        load_cg(folder)


def without_objects(graph):
    graph.object_graph_def.ClearField("nodes")


def without_type(graph):
    next(node for node in graph.graph_def.node if node.op == "Placeholder").attr["dtype"].type = 0


def with_a_large_placeholder(graph):
    node = next(node for node in graph.graph_def.node if node.op == "Placeholder")
    for dim in node.attr["shape"].shape.dim:
        dim.size = 1 << 12


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_objects, "its variables cannot be read"),
        (without_type, r"'.*' \(Placeholder\) is of no type"),
        (with_a_large_placeholder, "'.*' is a placeholder for more than 16777216 numbers"),
    ],
)
def test_damaged_models_are_refused_in_one_line(tmp_path, change, reason):
    save(small(), tmp_path / "saved")
    path = tmp_path / "saved" / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(model.meta_graphs[0])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=f"saved: {reason}") as error:
        load_cg(tmp_path / "saved", 16, 16, 3)
    assert "\n" not in str(error.value)
