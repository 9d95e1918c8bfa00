"""Networks of other packages, and the check that an import of them computes the same."""

import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
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
        precision: In which the outputs are within the tolerance: float32, or float64 where rounding alone goes beyond.
        note: What else there is to know.
    """

    outcome: str
    difference: float | str = ""
    opaque_share: float | str = ""
    flops_ratio: float | str = ""
    seconds: float | str = ""
    blockers: str = ""
    reason: str = ""
    precision: str = ""
    note: str = ""


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
    from_torch(nn.Conv2d(3, 4, 1), images[:1, :1].expand(-1, 3, -1, -1))  # the first import also loads the exporter
    with timed() as took:
        try:
            found = from_torch(module, images[:1], check=False)
        except ValueError as error:
            return refused(error)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images[:1])
    network, kinds = rebuild(found), (torch.float32, torch.float64)
    outputs = ((_run(network, images, kind), _run(module, images, kind)) for kind in kinds)
    return judged(found.graph, outputs, WITHIN, took[0], counter.get_total_flops())


def _run(module: nn.Module, images: torch.Tensor, kind: torch.dtype) -> np.ndarray:
    with torch.no_grad():
        result: torch.Tensor = module.to(kind)(images.to(kind))
    return result.numpy()


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


def judged(
    graph: ComputeGraph,
    outputs: Iterable[tuple[np.ndarray, np.ndarray]],
    tolerance: float,
    seconds: float,
    flops: float | None = None,
) -> Found:
    """What the outputs of an imported network and its original say.

    Args:
        graph: What was imported.
        outputs: Of both, for two or more images: in float32, then in float64 if that is asked for.
        tolerance: Largest difference that is exact.
        seconds: That the import took.
        flops: Of the original, for one image.
    """
    outputs = iter(outputs)
    ours, theirs = next(outputs)
    if ours.shape != theirs.shape:
        return Found("wrong", seconds=seconds, reason=f"the output is {ours.shape}, the original's {theirs.shape}")
    difference, precision, note = _apart(ours, theirs), "float32", ""
    if not difference <= tolerance:
        note, single = f"{difference:.0e} in float32", theirs
        ours, theirs = next(outputs)
        difference, precision, own = _apart(ours, theirs), "float64", _apart(single, theirs)
        note += f", where the original itself is {own:.0e} off" if own else ""
    told = _apart(theirs[:1], theirs[1:2]) > 100 * tolerance
    outcome = "wrong" if not difference <= tolerance else "exact" if told else "blind"
    ours_flops, hidden = counted(graph)
    ratio = ours_flops / flops if flops else ""
    return Found(outcome, difference, hidden / max(graph_macs(graph), 1), ratio, seconds, "", "", precision, note)


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest number of the second."""
    return float(np.abs(ours - theirs).max() / (np.abs(theirs).max() or 1.0))


def counted(graph: ComputeGraph) -> tuple[int, int]:
    """FLOPs of convolutions, dense layers and opaque nodes, without biases; multiply-accumulates of opaque nodes."""
    weighted = [node for node in graph.nodes if node.type_idx or node.op_name == "opaque"]
    bias = sum(node.out_shape[0] * node.out_shape[1] * node.out_shape[2] * node.use_bias for node in weighted)
    hidden = sum(node.operation.macs(node) for node in graph.nodes if node.op_name == "opaque")
    return 2 * (sum(node.operation.macs(node) for node in weighted) - bias), hidden


def refused(error: Exception) -> Found:
    """A refusal, with the types of operations that are in the way."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Refusal):
        cause = cause.__cause__
    reason = " ".join(str(error).split())[:300]
    others = {"expected one output": "several-outputs", "cannot trace": "not-traceable"}
    types = [name for text, name in others.items() if text in reason] or ["other"]
    if isinstance(cause, Refusal):
        types = sorted({blocker.type for blocker in cause.blockers})
    return Found("refused", blockers=" ".join(types), reason=reason)


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
    options = {}
    module = get_model(name, pretrained=False)
    if getattr(module, "aux", False):  # what it gives beside its result, in training above all
        options["aux"] = False
        module = get_model(name, pretrained=False, **options)
    own = h, w = getattr(module, "in_size", (224, 224))
    c = next(value.shape[1] for value in module.parameters() if value.ndim == 4)
    while h * w > MOST_PIXELS:
        h, w = h // 2, w // 2
    try:
        found = check_module(module, torch.randn(2, c, h, w))
    except (AssertionError, RuntimeError, ValueError) as error:  # some run at their own size only
        if (h, w) == own:
            return Found("failed", reason=" ".join(str(error).split())[:300])
        found = check_module(get_model(name, pretrained=False, **options), torch.randn(2, c, *own))
    notes = filter(None, (found.note, "without its auxiliary output (aux=False)" if options else ""))
    return found._replace(note="; ".join(notes))


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
    maps, kinds = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), (torch.float32, torch.float64)
    outputs = (_before_softmax(_run(network, maps, kind), theirs) for kind in kinds)
    return judged(found.graph, outputs, ACROSS, took[0])


def _near(rng: np.random.Generator, shape: tuple[int, ...], middle: float) -> np.ndarray:
    return middle + rng.uniform(-0.2, 0.2, shape).astype(np.float32)


def _before_softmax(*outputs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Outputs of a model that ends in a softmax, which may be left out, up to a number that all classes share."""
    if not any(np.allclose(one.sum(1), 1, atol=1e-3) and one.min() >= 0 for one in outputs):
        return outputs
    logits = [np.log(one) if np.allclose(one.sum(1), 1, atol=1e-3) else one for one in outputs]
    return tuple(one - one.mean(1, keepdims=True) for one in logits)


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
    network, kinds = rebuild(found), (torch.float32, torch.float64)
    maps = torch.from_numpy(images).split(1)
    outputs = ((np.concatenate([_run(network, one, kind) for one in maps]), theirs) for kind in kinds)
    return judged(found.graph, outputs, ACROSS, took[0])


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
