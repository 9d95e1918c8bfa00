"""Networks of other packages, and the check that an import of them computes the same."""

import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import onnx
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model_src.comp_graph.importers.onnx.op import Refusal
from model_src.comp_graph.importers.onnx.reader import load_onnx
from model_src.comp_graph.importers.torch import from_torch, rebuild
from model_src.comp_graph.load import load_network
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.runtime import one_thread, torch_seed

WITHIN, ACROSS = 1e-6, 1e-4  # of the output's largest value: within PyTorch, across frameworks
MOST_PIXELS = 400 * 400  # larger inputs are made smaller
# One network per family of pytorchcv.
PYTORCHCV = Path(__file__).with_name("pytorchcv_families.txt").read_text(encoding="utf-8").split()


class Found(NamedTuple):
    """What came of a network.

    Attributes:
        outcome: exact, wrong, refused, or `blind`: two images give the same, so nothing is told.
        difference: The largest difference of outputs, over the largest output.
        opaque_share: Share of multiply-accumulates in opaque nodes.
        flops_ratio: FLOPs of convolutions, dense layers and opaque nodes over PyTorch's own count of the network.
        seconds: Of the import.
        blockers: Types of operations that cannot be held.
        reason: Why it is refused.
    """

    outcome: str
    difference: float | str = ""
    opaque_share: float | str = ""
    flops_ratio: float | str = ""
    seconds: float | str = ""
    blockers: str = ""
    reason: str = ""


def check(source: str, name: str) -> Found:
    """Import a network of a source and hold it against the original."""
    disabled = logging.root.manager.disable
    with one_thread(), torch_seed(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            return SOURCES[source][1](name)
        finally:
            logging.disable(disabled)


def check_module(module: nn.Module, images: torch.Tensor) -> Found:
    """Import a PyTorch module, as it is after its numbers were made to differ.

    Args:
        module: It is changed.
        images: Two or more, of which each should give something else.
    """
    randomise(module, images)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        theirs = module(images[:1])
    if not isinstance(theirs, torch.Tensor):
        return Found("refused", blockers="several-outputs", reason="it has several outputs")
    from_torch(nn.Conv2d(3, 4, 1), images[:1, :1].expand(-1, 3, -1, -1))  # the first import also loads the exporter
    with timed() as took:
        try:
            found = from_torch(module, images[:1], check=False)
        except ValueError as error:
            return refused(error)
    with torch.no_grad():  # in doubles, so that nothing but the weights themselves is rounded
        theirs = module.double()(images.double())
        ours = rebuild(found).double()(images.double())
    return compared(found.graph, ours.numpy(), theirs.numpy(), WITHIN, took[0], counter.get_total_flops())


def randomise(module: nn.Module, images: torch.Tensor) -> None:
    """Give normalisations statistics near those that images have, and them and biases numbers of their own."""
    norms = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    biases = [value for name, value in module.named_parameters() if name.endswith("bias")]
    with torch.no_grad():
        for value in biases:
            value.add_(0.1 * torch.randn_like(value))
        module.eval()
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        module(images)
        for norm in filter(lambda one: one.running_var is not None, norms):
            norm.running_mean.add_(0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt())
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4)).clamp_(min=1e-4)
            if norm.affine:
                norm.weight.mul_(torch.empty_like(norm.weight).uniform_(0.7, 1.3))
    module.eval()


def compared(
    graph: ComputeGraph, ours: np.ndarray, theirs: np.ndarray, tolerance: float, seconds: float, flops: float | None
) -> Found:
    """What two outputs say, for two or more images."""
    scale = float(np.abs(theirs).max())
    if ours.shape != theirs.shape:
        return Found("wrong", seconds=seconds, reason=f"the output is {ours.shape}, the original's {theirs.shape}")
    difference = float(np.abs(ours - theirs).max()) / (scale or 1.0)
    weighted = [node for node in graph.nodes if node.type_idx or node.op_name == "opaque"]
    bias = sum(node.out_shape[0] * node.out_shape[1] * node.out_shape[2] * node.use_bias for node in weighted)
    hidden = sum(node.operation.macs(node) for node in graph.nodes if node.op_name == "opaque")
    own = 2 * (sum(node.operation.macs(node) for node in weighted) - bias)
    told = float(np.abs(theirs[0] - theirs[1]).max()) > 100 * tolerance * scale
    outcome = "wrong" if not difference <= tolerance else "exact" if told else "blind"
    ratio = own / flops if flops else ""
    return Found(outcome, difference, hidden / max(graph_macs(graph), 1), ratio, seconds)


def refused(error: Exception) -> Found:
    """A refusal, with the types of operations that are in the way."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Refusal):
        cause = cause.__cause__
    types = sorted({blocker.type for blocker in cause.blockers}) if isinstance(cause, Refusal) else ["other"]
    return Found("refused", blockers=" ".join(types), reason=" ".join(str(error).split())[:300])


@contextmanager
def timed() -> Iterator[list[float]]:
    """The seconds that a block takes, in a list."""
    took, start = [0.0], time.perf_counter()
    try:
        yield took
    finally:
        took[0] = round(time.perf_counter() - start, 2)


# ---- pytorchcv ----


def _pytorchcv(name: str) -> Found:
    with _instead_of_torchvision():
        from pytorchcv.model_provider import get_model
    module = get_model(name, pretrained=False)
    h, w = getattr(module, "in_size", (224, 224))
    while h * w > MOST_PIXELS:
        h, w = h // 2, w // 2
    try:
        return check_module(module, torch.randn(2, getattr(module, "in_channels", 3), h, w))
    except (RuntimeError, ValueError) as error:  # some run at their own size only
        h, w = getattr(module, "in_size", (224, 224))
        if h * w <= MOST_PIXELS:
            return Found("failed", reason=" ".join(str(error).split())[:300])
        return check_module(get_model(name, pretrained=False), torch.randn(2, 3, h, w))


@contextmanager
def _instead_of_torchvision() -> Iterator[None]:
    """What one of pytorchcv's networks wants of torchvision, for the others to be imported without it."""
    if find_spec("torchvision"):
        yield
        return
    names = ("torchvision", "torchvision.ops")
    for name in names:
        sys.modules[name] = ModuleType(name)
    vars(sys.modules[names[1]])["DeformConv2d"] = nn.Module
    yield
    for name in names:
        del sys.modules[name]


# ---- keras.applications ----


def _keras_names() -> list[str]:
    if not find_spec("keras"):
        return []
    import keras

    own = vars(keras.applications)
    return sorted(name for name, one in own.items() if callable(one) and name[0].isupper())


def _keras(name: str) -> Found:
    import keras

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for value in layer.weights:
                value.assign(_near(rng, value.shape, 1.0 if "var" in value.name or "gamma" in value.name else 0.0))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(_near(rng, layer.bias.shape, 0.0))
    images = rng.uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    theirs = np.asarray(model(images, training=False))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.keras"
        model.save(path)
        with timed() as took:
            try:
                found = load_network(path, check=False)
            except ValueError as error:
                return refused(error)
    if found.weights is None:
        return Found("refused", blockers="without-weights", reason="it comes in without weights")
    network = TorchNetwork(found.graph, squeeze_output=theirs.ndim == 2).eval()
    network.load_state_dict({key: torch.from_numpy(value) for key, value in found.state().items()})
    with torch.no_grad():
        ours = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    return compared(found.graph, *_before_softmax(ours, theirs), ACROSS, took[0], None)


def _near(rng: np.random.Generator, shape: tuple[int, ...], middle: float) -> np.ndarray:
    return middle + rng.uniform(-0.2, 0.2, shape).astype(np.float32)


def _before_softmax(*outputs: np.ndarray) -> list[np.ndarray]:
    """Outputs of a model that ends in a softmax, which may be left out, up to a number that all classes share."""
    if not any(np.allclose(one.sum(1), 1, atol=1e-3) and one.min() >= 0 for one in outputs):
        return list(outputs)
    logits = [np.log(one) if np.allclose(one.sum(1), 1, atol=1e-3) else one for one in outputs]
    return [one - one.mean(1, keepdims=True) for one in logits]


# ---- the light models of the onnx package ----


def _light_folder() -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def _light(name: str) -> Found:
    import onnxruntime

    model = onnx.load(_light_folder() / f"light_{name}.onnx")
    _give_weights(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        onnx.save(model, path)
        with timed() as took:
            try:
                found = load_onnx(path, check=False)
            except ValueError as error:
                return refused(error)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    images = np.random.default_rng(1).normal(size=(2, *image.shape[1:])).astype(np.float32)
    images[1] *= 4  # random weights see little but the contrast of noise
    theirs = np.concatenate([session.run(None, {image.name: one[None]})[0] for one in images])
    with torch.no_grad():
        network = rebuild(found)
        ours = np.concatenate([network(torch.from_numpy(one[None])).numpy() for one in images])
    return compared(found.graph, ours, theirs, ACROSS, took[0], None)


def _give_weights(model: onnx.ModelProto) -> None:
    """Random weights for a model that makes them of one number; no softmax at its end, where all would be 0 or 1."""
    rng = np.random.default_rng(0)
    shapes = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    products = {name for node in model.graph.node if node.op_type == "Mul" for name in node.input}
    factors = {node.input[0] for node in model.graph.node if node.op_type == "Unsqueeze" and node.output[0] in products}
    near_one = factors.union(products, *((node.input[1], node.input[4]) for node in norms))
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        shape = tuple(int(size) for size in shapes[node.input[0]])
        if len(shape) > 1:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            value = rng.uniform(0.5, 1.5, shape) if node.output[0] in near_one else rng.normal(0, 0.1, shape)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), node.output[0]))
    if kept[-1].op_type == "Softmax":
        model.graph.output[0].name = kept.pop().input[0]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def names_of(source: str) -> list[str]:
    """The networks of a source that can be tried here."""
    return SOURCES[source][0]()


# Source -> its networks, and the check of one.
SOURCES: dict[str, tuple[Callable[[], list[str]], Callable[[str], Found]]] = {
    "light": (lambda: sorted(path.stem.removeprefix("light_") for path in _light_folder().glob("*.onnx")), _light),
    "pytorchcv": (lambda: PYTORCHCV if find_spec("pytorchcv") else [], _pytorchcv),
    "keras.applications": (_keras_names, _keras),
}
