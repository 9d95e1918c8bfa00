"""What changes the meaning of an ONNX operation is read or refused by name, also where nothing is compared."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from onnx import numpy_helper, parser  # noqa: E402

from model_src.comp_graph.importers.onnx import from_onnx  # noqa: E402
from tests.comp_graph.importers.test_onnx import labels, read  # noqa: E402

NORM = {name: np.linspace(0.5, 2, 3, dtype=np.float32) for name in ("s", "b", "m", "v")}
HALF, YES, NO = np.float32(0.5), np.array(True), np.array(False)
ROWS = {"s": np.ones(8, np.float32), "b": np.zeros(8, np.float32)}


def model(body: str, opset: int = 18, **weights: np.ndarray) -> "onnx.ModelProto":
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> net (float[1,3,9,8] x) => (float[] y) {{ {body} }}'
    found = parser.parse_model(text)
    found.graph.initializer.extend(numpy_helper.from_array(np.asarray(one), name) for name, one in weights.items())
    return found


TRAINING = {
    "batchnorm": model("y, c, d = BatchNormalization<training_mode=1>(x, s, b, m, v)", **NORM),
    "batchnorm with more results, before opset 14": model(
        "y, c, d, e, f = BatchNormalization(x, s, b, m, v)", 9, **NORM
    ),
    "batchnorm in front of others": model(
        "a, c, d = BatchNormalization<training_mode=1>(x, s, b, m, v) y = Relu(a)", **NORM
    ),
    "dropout": model("a = Dropout(x, r, t) y = Relu(a)", r=HALF, t=YES),
    "dropout of the default share": model("a = Dropout(x, , t) y = Relu(a)", 13, t=YES),
    "dropout, before opset 7": model("a = Dropout<ratio=0.3>(x) y = Identity(a)", 6),
}


@pytest.mark.parametrize("name", TRAINING)
def test_what_computes_as_in_training_is_refused(name):
    with pytest.raises(ValueError, match=r"^node '#0' \(\w+\): it computes as in training, .* inference mode"):
        from_onnx(TRAINING[name], "net")


def test_what_only_looks_like_training_is_read():
    for more in ({"r": np.float32(0), "t": YES}, {"r": HALF, "t": NO}):
        assert labels(read(model("a = Dropout(x, r, t) y = Relu(a)", **more))) == ["input", "relu", "output"]
    old = model("a = BatchNormalization(x, s, b, m, v) y = Dropout<ratio=0.3>(a)", 9, **NORM)
    assert labels(from_onnx(old, "net")) == ["input", "fusedbatchnormv3", "output"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            model(
                "y = BatchNormalization<spatial=0>(x, s, b, m, v)", 8, **dict.fromkeys("sbmv", np.ones((3, 9, 8), "f"))
            ),
            r"\(BatchNormalization\): scales of shape \(3, 9, 8\); only one per channel .*cannot be run: [^\n]{,80}$",
        ),
        (model("y = Softmax<axis=1>(x)", 11), r"\(Softmax\): of axes 1 ... 3 of NCHW together"),
        (model("y = LogSoftmax(x)", 11), r"\(LogSoftmax\): of axes 1 ... 3 of NCHW together"),
        (model("y = Softmax<axis=0>(x)"), r"\(Softmax\): it mixes the images of a batch"),
        (
            model("y = LayerNormalization<axis=2>(x, s, b)", **ROWS),
            r"\(LayerNormalization\): .*scales of another shape than what is normalised cannot be kept",
        ),
        (
            model(
                'y = Resize<mode="linear", keep_aspect_ratio_policy="not_larger", axes=[2,3]>(x,,,z)', 19, z=[13, 11]
            ),
            r"\(Resize\): it keeps the aspect ratio up to parts of pixels",
        ),
        (model("a, b, c, d = Split<num_outputs=4, axis=1>(x) y = Relu(d)"), r"\(Slice\): its result is empty"),
        (model("a = Cast<to=7>(x) y = Cast<to=1>(a)"), r"\(Cast\): it cannot be represented, but where it gives real"),
        (model("y = Gemm<alpha=2.0, transA=1>(f, w) f = Flatten(x)", w=np.ones((1, 2), "f")), r"\(Gemm\): only"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(found, reason):
    with pytest.raises(ValueError, match=reason):
        from_onnx(found, "net")


CONV = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
READ = {
    'y = Resize<axes=[3,2], coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x,,z)': (
        {"z": np.array([2, 3], np.float32)},
        ["input", "resize", "output"],
    ),
    "y = Selu(x)": ({}, ["input", "elu", "scale", "output"]),
    "y = Selu<alpha=0.5, gamma=2.0>(x)": ({}, ["input", "elu", "scale", "output"]),
    "y = HardSigmoid(x)": ({}, ["input", "scale", "clip", "output"]),
    "y = HardSigmoid<alpha=-0.3, beta=0.7>(x)": ({}, ["input", "scale", "clip", "output"]),
    "y = Mish(x)": ({}, ["input", "opaque", "output"]),
    "g = GlobalAveragePool(x) f = Flatten(g) y = Gemm<alpha=0.5, beta=3.0, transB=1>(f, w, b)": (
        {"w": CONV, "b": CONV[:, 0]},
        ["matmul", "input", "mean", "output"],
    ),
    "y = GroupNormalization<num_groups=3>(x, s, b)": (
        {"s": NORM["s"], "b": NORM["b"]},
        ["input", "groupnorm", "output"],
    ),
    "t = Transpose<perm=[1,0,2,3]>(x) g = GatherND(t, i) y = Transpose<perm=[1,0,2,3]>(g)": (
        {"i": np.array([[2], [-2], [0]])},
        ["input", "gather", "output"],
    ),
    "d = Cast<to=11>(x) r = Relu(d) y = Cast<to=1>(r)": ({}, ["input", "relu", "output"]),
}


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("body", READ)
def test_what_can_be_held_is_read(body, opset):
    weights, expected = READ[body]
    assert labels(read(model(body, opset, **weights))) == expected


def test_a_resize_by_a_quotient_of_sizes_has_them():
    """8 times 9 / 8 in float32 is 9, and 14 times 9 / 14 is less than 9 by rounding."""
    for old, new in ((14, 9), (9, 8), (49, 48), (41, 7), (3, 10)):
        text = f'net (float[1,2,{old},4] x) => (float[] y) {{ y = Resize<mode="linear">(x,,s) }}'
        found = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
        factors = np.array([1, 1, new / old, 0.5], np.float32)
        found.graph.initializer.append(numpy_helper.from_array(factors, "s"))
        graph = from_onnx(found, "net").graph
        assert graph.nodes[graph.output_index].out_shape == (new, 2, 2)
