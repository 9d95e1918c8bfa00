"""Parts of a model that no other operation can hold: they become one opaque node from maps to one map.

An operation that cannot be read is kept back, and with it what reads its result, until there is a map again. Whether
that only moves channels is tried on numbers, and so is whether it treats every image of a batch alike.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.limits import check_trial
from model_src.comp_graph.importers.onnx.mode import TRAINING
from model_src.comp_graph.importers.onnx.op import OnnxOp, Refusal
from model_src.comp_graph.importers.onnx.region_text import RegionWriter
from model_src.comp_graph.region import Region

Converter = Callable[[Builder, OnnxOp], Value]

# Operations after which the axes of a map are others; what all others give of maps alone is a map.
_LAYOUTS = frozenset(
    {"Einsum", "Expand", "Flatten", "Gather", "Gemm", "MatMul", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
_TRUTHS = frozenset({"And", "Equal", "Greater", "Less", "Not"})  # whose results are no numbers
# What reads nothing but maps (N, C, H, W), or vectors.
_OF_MAPS = frozenset({"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool", "MaxPool"})


class _Kept(NamedTuple):
    """An operation that was kept back, and why, unless it is for what it reads."""

    op: OnnxOp
    refusal: Refusal | None


class Regions:
    """Reads operations, those that a graph cannot hold together with their neighbours.

    Args:
        builder: Takes the nodes.
        convert: Reads an operation of maps.
    """

    def __init__(self, builder: Builder, convert: Converter):
        self._builder, self._convert = builder, convert
        self._kept: dict[str, _Kept] = {}  # by the name of the result

    def read(self, op: OnnxOp) -> None:
        """Read an operation, or keep it back.

        Raises:
            Refusal: It can neither be read nor be a part of an opaque node.
        """
        self.end_in_front_of(op)
        if op.attributes.get("training_mode"):
            raise op.error(TRAINING)
        refusal = None
        if not any(name in self._kept for name in op.inputs):
            mark = self._builder.mark()
            try:
                self._builder.values[op.outputs[0]] = self._convert(self._builder, op)
            except Refusal as error:
                self._builder.reset(mark)
                refusal = error
            else:
                return
        if not RegionWriter.knows(op):
            raise refusal or op.error("it cannot be represented")
        self._kept[op.outputs[0]] = _Kept(op, refusal)
        if self._is_end(op):
            self._end(op.outputs[0])
        elif self._builder.is_output(op):
            raise refusal or op.error("the model's result is neither a map nor a vector")

    def end_in_front_of(self, op: OnnxOp) -> None:
        """Where an operation reads maps, regions in front of it end there."""
        for name in op.inputs:
            if name in self._kept:
                shape = self._builder.shape(name)
                axes = 2 if op.type in ("Gemm", "MatMul") else 4 if op.type in _OF_MAPS else None
                if len(shape) == axes and shape[0] == self._builder.batch:
                    self._end(name)

    def _is_end(self, op: OnnxOp) -> bool:
        """Whether the result of an operation that was kept back is a map or vector."""
        shape, builder = self._builder.shape(op.outputs[0]), self._builder
        if len(shape) not in (2, 4) or shape[0] != builder.batch or op.type in _TRUTHS:
            return False
        if len(shape) == 2 or builder.is_output(op):
            return True
        inputs = [builder.values[name] for name in self._maps([kept.op for kept in self._behind(op.outputs[0])])]
        alone = all(name in builder.values for name in op.inputs if not builder.is_constant(name) and name)
        if alone and op.type not in _LAYOUTS and all(value.axes == "NCHW" for value in inputs):
            return True
        return shape[2:] in {(1, 1), *(builder.size(value)[:2] for value in inputs)} or self._gives_a_map(op)

    def _gives_a_map(self, op: OnnxOp) -> bool:
        """Whether the numbers of a map were only moved, to a map again."""
        mark = self._builder.mark()
        value = self._rearranged([kept.op for kept in self._behind(op.outputs[0])])
        self._builder.reset(mark)
        return value is not None

    def _rearranged(self, ops: Sequence[OnnxOp]) -> Value | None:
        from model_src.comp_graph.importers.onnx.rearranged import rearranged

        return rearranged(self._builder, ops, self._maps(ops))

    def _behind(self, tensor: str) -> list[_Kept]:
        """What was kept back and gives a tensor, in the model's order."""
        found, waiting = set[str](), [tensor]
        while waiting:
            name = waiting.pop()
            if name in self._kept and name not in found:
                found.add(name)
                waiting.extend(self._kept[name].op.inputs)
        return [kept for name, kept in self._kept.items() if name in found]

    def _maps(self, ops: Sequence[OnnxOp]) -> list[str]:
        """Names of the values that operations read, the first first."""
        return list(dict.fromkeys(name for op in ops for name in op.inputs if name in self._builder.values))

    def _end(self, tensor: str) -> None:
        """Make a node of all that was kept back and gives a tensor.

        Raises:
            Refusal: It cannot be represented.
        """
        kept = self._behind(tensor)
        ops = [one.op for one in kept]
        self._builder.values[tensor] = (
            _as_mean(self._builder, ops)
            or _as_sum(self._builder, ops, self._maps(ops))
            or _as_normalisation(self._builder, ops)
            or self._rearranged(ops)
            or self._opaque(kept)
        )
        del self._kept[tensor]

    def _opaque(self, kept: Sequence[_Kept]) -> Value:
        builder, last, ops = self._builder, kept[-1].op, [one.op for one in kept]
        names = self._maps(ops)
        try:
            writer = RegionWriter(builder, names)
            for op in ops:
                writer.add(op)
            region = writer.region(last.outputs[0])
            tensors = [*names, *(name for op in ops for name in op.outputs if name)]
            check_trial(8 * sum(prod(builder.shape(name)) for name in tensors), writer.weights.values())
            check_images_alike(region, writer.weights)
        except ValueError as error:
            whole = [blocker for one in kept if one.refusal for blocker in one.refusal.blockers][:1]
            reasons = [blocker._replace(reason=f"{blocker.reason}; as an opaque node: {error}") for blocker in whole]
            raise Refusal(reasons) if reasons else last.error(str(error)) from error
        sources = [builder.values[name] for name in names]
        if len(sources) > 1:
            sources = builder.number(sources, last.name)
        n, c, *size = (*builder.shape(last.outputs[0]), 1, 1)[:4]
        after = (size[0], size[1], c)
        metadata = {"region": region.text(), "macs": writer.macs // n}
        axes = "NCHW" if len(builder.shape(last.outputs[0])) == 4 else "NC"
        value = builder.node("opaque", last.name, sources, after, axes, metadata=metadata)
        builder.set_weights(value, writer.weights)
        return value


def check_images_alike(region: Region, weights: Mapping[str, np.ndarray]) -> None:
    """Try a region on two images, together and apart.

    Raises:
        ValueError: The results differ, or it cannot be run.
    """
    import torch

    from model_src.comp_graph.networks.torch_region import RegionLayer

    with torch.random.fork_rng(devices=[]):  # its first weights are drawn
        layer = RegionLayer(region)
    layer.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(2, *shape, generator=generator) for shape in region.inputs]
    try:
        with torch.inference_mode():
            both = layer(*maps)
            each = torch.cat([layer(*(one[at : at + 1] for one in maps)) for at in range(2)])
    except (RuntimeError, IndexError, TypeError) as error:
        first, *_ = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"it cannot be run: {first}") from error
    if both.shape != each.shape or not torch.allclose(both, each, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ValueError("it does not treat every image of a batch alike")


def _as_mean(builder: Builder, ops: Sequence[OnnxOp]) -> Value | None:
    """The mean over all pixels, axis by axis; None for anything else."""
    x = builder.values.get(ops[0].inputs[0])
    if x is None or x.axes != "NCHW" or len(ops) != 2 or any(op.type != "ReduceMean" for op in ops):
        return None
    axes, gone = list(x.axes), ""
    for op in ops:
        operand = builder.constant(op, 1)
        places = op.attributes.get("axes", ()) if operand is None else operand.ravel()
        gone += "".join(axes[int(place)] for place in places)
        if not op.attributes.get("keepdims", 1):
            axes = [axis for axis in axes if axis not in gone]
    if sorted(gone) != ["H", "W"] or len(axes) == 3:
        return None
    return builder.node("mean", ops[1].name, [x], (1, 1, builder.size(x)[2]), "".join(axes))


def _as_sum(builder: Builder, ops: Sequence[OnnxOp], names: Sequence[str]) -> Value | None:
    """The sum of maps that were stacked; None for anything else."""
    *before, stack, last = ops if len(ops) > 1 else (*ops, *ops)
    if [stack.type, last.type] != ["Concat", "ReduceSum"] or any(op.type != "Unsqueeze" for op in before):
        return None
    operand = builder.constant(last, 1)
    axes = list(last.attributes.get("axes", ()) if operand is None else operand.ravel())
    axis = stack.attributes["axis"] % (len(builder.shape(stack.outputs[0])))
    stacked = {op.outputs[0]: builder.values[op.inputs[0]] for op in before}
    same = {builder.shape(last.outputs[0])} == {builder.shape(name) for name in names}
    single = builder.shape(stack.outputs[0])[axis] == len(stack.inputs) and axes in ([axis], [axis - 5])
    if not same or not single or any(builder.values[name].axes != "NCHW" for name in names):
        return None
    values = [stacked[name] for name in stack.inputs]
    return builder.node("add", last.name, values, builder.size(values[0]), positive=builder.is_positive(*values))


def _as_normalisation(builder: Builder, ops: Sequence[OnnxOp]) -> Value | None:
    """The normalisation of groups of channels, as PyTorch writes it; None for anything else."""
    if [op.type for op in ops] != ["Reshape", "InstanceNormalization", "Reshape"]:
        return None
    x, norm, result = builder.values.get(ops[0].inputs[0]), ops[1], ops[2].outputs[0]
    shape = builder.shape(result)
    if x is None or x.axes != "NCHW" or shape != builder.shape(ops[0].inputs[0]):
        return None
    groups = builder.shape(norm.inputs[0])[1]
    weights = [np.repeat(builder.parameter(norm, index), shape[1] // groups) for index in (1, 2)]
    return builder.norm(norm, x, "groupnorm", (weights[0], weights[1]), groups=groups)
