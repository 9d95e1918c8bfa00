"""What keeps a Keras or TensorFlow network from being read is told in a line, without the code of Keras."""

import zipfile

import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from model_src.comp_graph.importers.tensorflow import from_keras, load_keras, load_saved_model  # noqa: E402
from model_src.comp_graph.importers.tensorflow.graph_def import freeze  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.comp_graph.importers.keras_models import LIMIT, between, difference  # noqa: E402

L = keras.layers
# Keras' own, on numpy 2.4.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@keras.saving.register_keras_serializable("tests")
class Own(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = L.Conv2D(4, 3, name="conv")

    def call(self, images):
        return self.conv(images)


def flattened() -> keras.Model:
    return keras.Sequential([keras.Input((16, 16, 3)), L.Conv2D(4, 3), L.Flatten(), L.Dense(5)])


def refused(reason: str, read, *arguments) -> None:
    with pytest.raises(InputError, match=reason) as error:
        read(*arguments)
    assert not {"\n", "\x1b"}.intersection(str(error.value))
    assert "user code" not in str(error.value)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_size_for_which_a_model_cannot_be_built_is_told(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    flattened().save(path)
    reason = r"the model cannot be built for images of 32 x 32 x 3 \(H x W x C\): .*'dense.*' is incompatible .* 784"
    refused(rf"net{suffix}: {reason}", load_keras, path, 32, 32, 3)
    refused(r"images of 1 x 1 x 3 \(H x W x C\): Negative dimension", load_keras, path, 1, 1, 3)


def test_the_same_is_told_of_other_files(tmp_path):
    path, folder = tmp_path / "net.pb", tmp_path / "net"
    model = flattened()
    path.write_bytes(freeze(model, (16, 16, 3), batch=None).SerializeToString())
    model.export(folder, verbose=False)
    for one in (path, folder):
        refused(r"for images of 32 x 32 x 3 \(H x W x C\): Cannot reshape", load_cg, one, 32, 32, 3)


def test_a_folder_is_read_for_images_of_another_size_than_it_was_written_for(tmp_path):
    keras.Sequential([keras.Input((16, 16, 3)), L.Conv2D(4, 3)]).export(tmp_path / "net", verbose=False)
    found = load_saved_model(tmp_path / "net", 20, 12, 3)
    assert found.graph.nodes[found.graph.output_index].out_shape == (18, 10, 4)


def test_a_model_that_does_not_say_its_size_needs_one(tmp_path):
    path, model = tmp_path / "own.keras", Own()
    model(tf.zeros((1, 8, 8, 3)))
    model.save(path)
    refused(r"own\.keras: the model does not say the size .*\(-input_h, -input_w and -input_c\)", load_keras, path)
    assert [node.label for node in load_keras(path, 8, 8, 3).graph.nodes] == ["conv2d", "input", "output"]


def test_inputs_that_are_no_images_are_told(tmp_path):
    images = [keras.Input((8, 8, 3), name=name) for name in "ab"]
    with pytest.raises(ValueError, match=r"the model's input \[.*\] is not one batch of images \(N, H, W, C\)"):
        from_keras(keras.Model(images, L.Add()(images)))
    vector = keras.Sequential([keras.Input((8,)), L.Dense(3)])
    with pytest.raises(ValueError, match=r"the model's input \(None, 8\) is not one batch of images"):
        from_keras(vector)
    with pytest.raises(ValueError, match=r"the model's input \(None, 8, 3\) is no fixed \(H, W, C\); give its height"):
        from_keras(keras.Sequential([keras.Input((None, 8, 3)), L.Conv2D(4, 3)]))


def test_a_layer_that_cannot_be_called_is_told(tmp_path):
    keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu")]).save(tmp_path / "relu.keras")
    with (
        zipfile.ZipFile(tmp_path / "relu.keras") as old,
        zipfile.ZipFile(tmp_path / "net.keras", "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"activation": "relu"', b'"activation": "threshold"'))
    refused(r"net\.keras: .* 8 x 8 x 3 .*: threshold\(\) missing 2 required", load_keras, tmp_path / "net.keras")


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(8, 9), (13, 15)])
def test_a_resize_to_a_size_has_it(size, method):
    model = between(lambda x: L.Resizing(*size, interpolation=method)(x), 14)
    found = from_keras(model)
    assert found.graph.nodes[found.graph.output_index].out_shape == (*size, 4)
    assert difference(model, found) <= LIMIT
