"""ONNX models come in; what cannot is refused with its name. Models are written in ONNX's own text form."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from onnx import helper, numpy_helper, parser  # noqa: E402

from constants import DOMAIN_NORMALISERS  # noqa: E402
from model_src.comp_graph.exporters.files import network_of  # noqa: E402
from model_src.comp_graph.exporters.onnx import to_onnx  # noqa: E402
from model_src.comp_graph.graph_ops import same_topology  # noqa: E402
from model_src.comp_graph.importers.imported import ImportedNetwork  # noqa: E402
from model_src.comp_graph.importers.onnx.reader import from_onnx  # noqa: E402
from model_src.comp_graph.importers.torch import rebuild  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.comp_graph.twins import with_random_statistics  # noqa: E402


def model(body: str, image: str = "float[1,3,9,8] x", weights: dict | None = None, result: str = "y"):
    """A model of one image; weights are random kernels by name and shape."""
    text = f'<ir_version: 8, opset_import: ["" : 18]> net ({image}) => (float[a,b,c,d] {result}) {{ {body} }}'
    found = parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, value in (weights or {}).items():
        array = rng.normal(size=value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
        found.graph.initializer.append(numpy_helper.from_array(array, name))
    return found


def reference_result(found: "onnx.ModelProto", image: np.ndarray) -> np.ndarray:
    return onnx.reference.ReferenceEvaluator(found).run(None, {found.graph.input[0].name: image})[0]


def read(found: "onnx.ModelProto", image: np.ndarray | None = None) -> ImportedNetwork:
    """Import a model, and check that its network computes what ONNX's own evaluator does."""
    if image is None:
        image = np.random.default_rng(1).normal(size=(1, 3, 9, 8)).astype(np.float32)
    expected = reference_result(found, image)
    imported = from_onnx(found, "net")
    channels_first = image.transpose(0, 3, 1, 2) if image.shape[3] == 3 else image
    with torch.inference_mode():
        ours = rebuild(imported)(torch.from_numpy(channels_first.copy())).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    return imported


def labels(imported: ImportedNetwork) -> list[str]:
    return [node.label for node in imported.graph.nodes]


def test_a_chain_becomes_its_nodes():
    body = "a = Conv<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x, k, b) c = Relu(a) "
    weights = {"k": (4, 3, 3, 3), "b": (4,)}
    found = read(model(body + "y = MaxPool<kernel_shape=[2,2]>(c)", weights=weights))
    assert labels(found) == ["conv2d", "input", "paddings", "relu", "maxpool", "output"]
    conv, image, padding, _, pool, _ = found.graph.nodes
    # 9 rows are padded like SAME, 8 columns are not.
    assert padding.metadata == {"pad_h": (1, 1), "pad_w": (1, 0)}
    assert conv.padding == "valid"
    assert conv.use_bias
    assert conv.resolution == (11, 5, 9, 4, 3, 4)
    assert conv.shape == (3, 4, 3, 3)
    assert pool.resolution == (5, 4, 4, 3, 4, 4)
    assert pool.metadata["ksize"] == (1, 2, 2, 1)
    assert found.graph.input_shape == (1, 9, 8, 3)
    assert image.op_type_idx == 1


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("SAME_UPPER", ["same", False]), ("SAME_LOWER", ["valid", True]), ("VALID", ["valid", False])],
)
def test_automatic_padding(mode, expected):
    found = read(
        model(f'y = Conv<kernel_shape=[3,3], strides=[2,2], auto_pad="{mode}">(x, k)', weights={"k": (4, 3, 3, 3)})
    )
    assert [found.graph.nodes[0].padding, "paddings" in labels(found)] == expected


def test_padding_in_front_of_a_window_is_taken_in():
    pads = {"k": (4, 3, 3, 3), "p": np.array([0, 0, 1, 0, 0, 0, 1, 1]), "low": np.float32("-inf")}
    found = read(model("a = Pad(x, p) y = Conv<kernel_shape=[3,3], strides=[2,2]>(a, k)", weights=pads))
    assert labels(found) == ["conv2d", "input", "output"]
    assert found.graph.nodes[0].padding == "same"
    found = read(model("a = Pad(x, p, low) y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(a)", weights=pads))
    assert labels(found) == ["input", "maxpool", "output"]
    found = read(model("a = Pad(x, p) b = Relu(a) y = MaxPool<kernel_shape=[3,3]>(b)", weights=pads))
    assert labels(found) == ["input", "paddings", "relu", "maxpool", "output"]
    found = read(model("a = Relu(x) b = Pad(a, p) y = MaxPool<kernel_shape=[3,3]>(b)", weights=pads))
    assert labels(found) == ["input", "relu", "paddings", "maxpool", "output"]


@pytest.mark.parametrize(("activation", "is_positive"), [("Relu", 1), ("Sigmoid", 1), ("Tanh", 0)])
def test_zeros_around_a_maximum_are_those_of_no_negative_numbers(activation, is_positive):
    """A window that begins outside, unlike SAME: zeros stand for what is not there, if nothing is below them."""
    found = model(f"a = {activation}(x) y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,0,0]>(a)")
    if is_positive:
        assert labels(read(found)) == ["input", activation.lower(), "paddings", "maxpool", "output"]
    else:
        assert labels(read(found)) == ["input", activation.lower(), "maxpool", "output"]


@pytest.mark.parametrize("epsilon", ["", "<epsilon=0.001>", "<epsilon=0.5>"])
def test_batch_normalisation_keeps_its_epsilon(epsilon):
    """Variances are so small that it matters; ONNX's own default is 1e-5."""
    weights = {"s": (3,), "b": (3,), "m": (3,), "v": np.array([1e-4, 1e-3, 1], np.float32)}
    found = read(model(f"y = BatchNormalization{epsilon}(x, s, b, m, v)", weights=weights))
    assert labels(found) == ["input", "fusedbatchnormv3", "output"]


def test_composed_activations_are_recognised():
    numbers = {"r": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5), "s": np.float32(0.5**0.5)}
    gelu = "a = Div(x, r) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)"
    other = "h = Mul(half, x) a = Mul(s, x) b = Erf(a) c = Add(one, b) y = Mul(c, h)"
    swish = "a = Sigmoid(x) y = Mul(a, x)"
    clip = "a = Max(x, zero) y = Min(six, a)"
    for body, label in ((gelu, "gelu"), (other, "gelu"), (swish, "swish"), (clip, "relu6")):
        more = {"zero": np.float32(0), "six": np.float32(6)}
        assert labels(read(model(body, weights=numbers | more))) == ["input", label, "output"]
    gate = "g = Tanh(x) a = Sigmoid(g) y = Mul(a, x)"  # the sigmoid of something else
    assert labels(read(model(gate))) == ["input", "tanh", "sigmoid", "mul", "output"]


def test_channels_last_models_keep_their_layout_out_of_the_graph():
    weights = {"k": (4, 3, 3, 3), "w": (4 * 9 * 8, 5), "axes": np.array([1, 2])}
    body = "a = Transpose<perm=[0,3,1,2]>(x) c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(a, k) "
    body += "t = Transpose<perm=[0,2,3,1]>(c) "
    image = np.random.default_rng(1).normal(size=(1, 9, 8, 3)).astype(np.float32)
    found = read(model(body + "y = Tanh(t)", "float[1,9,8,3] x", weights), image)
    assert labels(found) == ["conv2d", "input", "tanh", "output"]
    assert found.graph.input_shape == (1, 9, 8, 3)
    found = read(
        model(body + "m = ReduceMean<keepdims=0>(t, axes) y = Identity(m)", "float[1,9,8,3] x", weights), image
    )
    assert labels(found) == ["conv2d", "input", "mean", "output"]
    flat = model(body + "f = Flatten(t) y = MatMul(f, w)", "float[1,9,8,3] x", weights)
    assert labels(read(flat, image)) == ["conv2d", "conv2d", "input", "output"]


def test_shape_arithmetic_is_computed():
    body = (
        "m = GlobalAveragePool(x) s = Shape(m) n = Gather(s, zero) u = Unsqueeze(n, zeros) "
        "t = Concat<axis=0>(u, rest) f = Reshape(m, t) y = Gemm<transB=1>(f, w, b)"
    )
    weights = {"zero": np.array(0), "zeros": np.array([0]), "rest": np.array([-1]), "w": (5, 3), "b": (5,)}
    found = read(model(body, weights=weights))
    assert labels(found) == ["matmul", "input", "mean", "output"]
    assert found.graph.nodes[0].use_bias


def test_what_an_operation_does_without_is_nothing_that_another_gives():
    found = model(
        "a = MaxPool<kernel_shape=[3,3], strides=[2,2]>(x) y = Resize(a, a, s)",
        weights={"s": np.array([1.0, 1.0, 2.0, 2.0], np.float32)},
    )
    pool, resize = found.graph.node
    pool.output.append("")
    resize.input[1] = ""
    assert labels(from_onnx(found, "net")) == ["input", "maxpool", "resize", "output"]


def test_biases_may_be_added_later_and_a_sum_with_itself_keeps_both():
    weights = {"k": (4, 3, 1, 1), "b": np.arange(4, dtype=np.float32).reshape(4, 1, 1)}
    found = read(model("a = Conv(x, k) c = Add(b, a) d = Add(c, c) y = Sum(d, c)", weights=weights))
    assert found.graph.nodes[0].use_bias
    assert labels(found) == ["conv2d", "input", "identity", "add", "add", "output"]


def test_what_the_result_does_not_need_is_ignored():
    found = read(model("a = Relu(x) unused = Elu(a) y = Tanh(a)"))
    assert labels(found) == ["input", "relu", "tanh", "output"]


def test_a_last_softmax_is_left_out_with_a_word(caplog):
    found = from_onnx(model("a = Relu(x) y = Softmax<axis=1>(a)"), "net")
    assert labels(found) == ["input", "relu", "output"]
    assert "(Softmax): left out" in caplog.text


@pytest.mark.parametrize("name", ["nb201_best", "inception_best"])
def test_published_networks_survive_the_way_out_and_in(reference, name):
    cg = load_cg(reference / "published" / "architectures" / f"{name}.pkl")
    network = with_random_statistics(network_of(cg))
    found = from_onnx(to_onnx(cg, network), cg.name, normalisers=cg.normalisers)
    assert same_topology(found.graph, cg)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(rebuild(found)(image), network(image), rtol=0, atol=1e-6)


def test_given_sizes_win_and_open_ones_need_them(tmp_path):
    body, weights = "y = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, k)", {"k": (4, 3, 3, 3)}
    path = tmp_path / "net.onnx"
    onnx.save(model(body, weights=weights), path)
    assert load_cg(path).input_shape == (1, 9, 8, 3)
    cg = load_cg(path, 20, 12, 3)
    assert (cg.name, cg.nodes[0].resolution, cg.normalisers) == ("net", (20, 20, 12, 12, 3, 4), DOMAIN_NORMALISERS)
    onnx.save(model(body, "float[n,3,h,w] x", weights), path)
    assert load_cg(path, 20, 12, 3).input_shape == (1, 20, 12, 3)
    with pytest.raises(InputError, match=r"net\.onnx: the size of the input 'x' is unknown; give its height"):
        load_cg(path)
    with pytest.raises(InputError, match=r"net\.onnx: give input height, width and channels, or none"):
        load_cg(path, 20, 12)
    with pytest.raises(
        InputError, match=r"net.onnx: node '.*' \(Conv\): 1 groups of a 3 -> 4 kernel on 5 channels|does not accept"
    ):
        load_cg(path, 20, 12, 5)


def test_files_that_are_no_model_are_refused_in_one_line(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(InputError, match=r"net\.onnx: No such file"):
        load_cg(path)
    onnx.save(model("y = Relu(x)"), path)
    content = path.read_bytes()
    for damaged in (b"", b"hello, this is text", content[:-20], bytes(range(256))):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"net\.onnx: ") as error:
            load_cg(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (model("y = Celu(x)"), r"node '#0' \(Celu\): it cannot be represented"),
        (model("y = PRelu(x, s)", weights={"s": (3, 9, 8)}), r"\(PRelu\): slopes of shape \(3, 9, 8\) cannot be"),
        (model("y = com.microsoft.FusedConv(x, x)"), r"com.microsoft"),
        (model("y = Relu(x)", "float[1,3,8,8] x, float[1,3,8,8] z"), "expected one input, .* found 'x', 'z'"),
        (model("y = Relu(x)", "float[1,3] x"), "expected one input, an image of four axes; found 'x'"),
        (model("a = NonZero(x) y = Relu(x) z = Cast<to=1>(a)", result="z"), r"the size of its result|NonZero"),
        (model("y = Conv(x, x)"), r"\(Conv\): its operand 'x' depends on the image"),
        (model("y = Identity(c)", weights={"c": (1, 3, 2, 2)}), "the output 'y' does not depend on the image"),
        (
            model("m = GlobalAveragePool(x) f = Flatten(m) y = Gemm<transA=1>(f, w)", weights={"w": (1, 5)}),
            r"\(Gemm\): only",
        ),
        (model("y = Relu(z)"), r"node '#0' \(Relu\): it reads 'z': nothing gives that; the graph is incomplete$"),
        (model("y = Sum(x, x, c)", weights={"c": (1,)}), r"\(Sum\): a constant among several operands"),
        (model("y = Transpose<perm=[1,0,2,3]>(x)"), r"\(Transpose\): it reorders NCHW"),
        (
            model("y = Relu(z) z = Relu(y)"),
            r"node '#0' \(Relu\): it reads 'z': the graph has a cycle$",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(found, reason):
    with pytest.raises(ValueError, match=reason):
        from_onnx(found, "net")


def test_a_model_without_constants_for_its_kernel_is_refused():
    found = helper.make_model(parser.parse_graph("net (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Conv(x, k) }"))
    with pytest.raises(ValueError, match="k"):
        from_onnx(found, "net")
