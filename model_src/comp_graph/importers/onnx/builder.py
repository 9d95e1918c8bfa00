"""Collects the nodes of a computation graph while the operations of an ONNX model are read."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from model_src.comp_graph.importers.imported import LeftOut
from model_src.comp_graph.importers.onnx.lookup import Lookup
from model_src.comp_graph.importers.onnx.model import PreparedModel
from model_src.comp_graph.importers.onnx.op import OnnxOp, shortest
from model_src.comp_graph.ops import OPERATIONS, Channels, Kind, Operation
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape, node_from_state


class Value(NamedTuple):
    """A tensor of the model: the result of a graph node.

    Attributes:
        node: Number of the node, in creation order.
        axes: What each axis is: "NCHW" in some order, "NC" for a vector, "N(CHW)" for a map that was flattened,
            "(NHW)C" for its pixels as a batch of vectors.
    """

    node: int
    axes: str


class Builder(Lookup):
    """The nodes made so far, and the tensors that they are the results of.

    Attributes:
        values: Tensor name -> value; filled by whoever reads the operations.
        input_size: (H, W, C).
        left_out: See `ImportedNetwork`.
    """

    def __init__(self, model: PreparedModel):
        super().__init__(model)
        self.left_out: LeftOut | None = None
        self._operations: list[Operation] = []
        self._states: list[dict[str, Any]] = []
        self._sources: list[tuple[int, ...]] = []
        self._is_positive: list[bool] = []
        self._names: list[str] = []
        self._weights: dict[int, dict[str, np.ndarray]] = {}
        axes = "NHWC" if model.channels_last else "NCHW"
        sizes = dict(zip(axes, model.shapes[model.input_name], strict=True))
        self.input_size: Shape = (sizes["H"], sizes["W"], sizes["C"])
        self.values = {model.input_name: self.node("input", "input", (), self.input_size, axes)}

    def node(
        self,
        op: str,
        name: str,
        sources: Sequence[Value],
        size: Shape,
        axes: str | None = None,
        before: Shape | None = None,
        positive: bool | None = None,
        **fields: Any,
    ) -> Value:
        """Add a node.

        Args:
            op: Name of its operation in the table of operations.
            name: Name of the ONNX operation that it stands for.
            sources: What it reads; a repeated operand goes through an identity, as two nodes share at most one edge.
            size: (H, W, C) of its result.
            axes: Axes of its result; None takes those of the first source.
            before: (H, W, C) of its input; None takes that of the first source.
            positive: Whether its result has no negative value; None takes what is known of the operation.
            **fields: strides, metadata, shape (the kernel's).
        """
        distinct: list[Value] = []
        for source in sources:
            repeated = source in distinct
            distinct.append(
                self.node("identity", f"{name}/repeat", [source], self.size(source)) if repeated else source
            )
        operation = OPERATIONS[op]
        before = before or (self.size(distinct[0]) if distinct else size)
        self._states.append(
            {
                "str_id": f"{len(self._states)}|{name.lower()}",
                "label": operation.label,
                "op_type_idx": operation.index,
                "resolution": tuple(number for pair in zip(before, size, strict=True) for number in pair),
                "strides": None,
                **fields,
            }
        )
        self._sources.append(tuple(source.node for source in distinct))
        self._names.append(name)
        self._operations.append(operation)
        self._is_positive.append(operation.is_positive if positive is None else positive)
        return Value(len(self._states) - 1, axes or distinct[0].axes)

    def broadcast(self, name: str, value: Value, size: Shape) -> Value:
        """A value whose single channel, row or column is repeated up to (H, W, C)."""
        if self.size(value) == size:
            return value
        return self.node("broadcast", f"{name}/repeat", [value], size, positive=self.is_positive(value))

    def mark(self) -> int:
        """A point to which `reset` goes back."""
        return len(self._states)

    def reset(self, mark: int) -> None:
        """Forget all nodes that were added since a point."""
        for one in (self._states, self._sources, self._operations, self._is_positive, self._names):
            del one[mark:]
        self._weights = {at: weights for at, weights in self._weights.items() if at < mark}
        for name in [name for name, value in self.values.items() if value.node >= mark]:
            del self.values[name]

    def size(self, value: Value) -> Shape:
        """(H, W, C) of a value."""
        return self._states[value.node]["resolution"][1::2]

    def is_positive(self, *values: Value) -> bool:
        """Whether none of the values has a negative entry."""
        return all(self._is_positive[value.node] for value in values)

    def value(self, op: OnnxOp, index: int = 0) -> Value:
        """The value of an operand.

        Raises:
            ValueError: It does not depend on the image.
        """
        if op.inputs[index] not in self.values:
            raise op.error(f"its operand {op.inputs[index]!r} is a constant; only images can be read there")
        return self.values[op.inputs[index]]

    def stand_in(self, op: OnnxOp) -> list[str]:
        """Put an identity for the results of an operation that is not read, so that what reads them can be tried.

        Returns:
            The results for which there is no such, since they are no maps or vectors.
        """
        values, left = [self.values[name] for name in op.inputs if name in self.values], []
        for name in filter(None, op.outputs):
            shape = self._model.shapes.get(name, ())
            axes = {4: "NHWC" if values and values[0].axes == "NHWC" else "NCHW", 2: "NC"}.get(len(shape))
            if axes is None:
                left.append(name)
                continue
            sizes = {"H": 1, "W": 1, **dict(zip(axes, shape, strict=True))}
            size = (sizes["H"], sizes["W"], sizes["C"])
            self.values[name] = self.node("identity", op.name, values[:1], size, axes)
        return left

    def map(self, op: OnnxOp) -> Value:
        """The first operand, which must be a map (N, C, H, W).

        Raises:
            ValueError: It is laid out differently.
        """
        value = self.value(op)
        if value.axes != "NCHW":
            raise op.error(f"its input is laid out as {value.axes}; only NCHW can be read")
        return value

    def by_channel(self, value: Value, constant: np.ndarray) -> np.ndarray | None:
        """A constant that is joined with a value, as one number for every channel; None where it is no such."""
        if constant.size == 1:
            return np.full(self.size(value)[2], constant.reshape(()), np.float32)
        axes = value.axes.replace("(NHW)", "N")
        shape = (1,) * (len(axes) - constant.ndim) + constant.shape
        channels = tuple(self.size(value)[2] if axis == "C" else 1 for axis in axes)
        return constant.ravel().astype(np.float32) if "(" not in axes and shape == channels else None

    def operation(self, value: Value) -> Operation:
        """The operation of the node that a value is the result of."""
        return self._operations[value.node]

    def is_read_once(self, value: Value) -> bool:
        """Whether a node's result, under whatever names it goes in the model, is read by one operation in the end."""
        names = [name for name, other in self.values.items() if other.node == value.node]
        return all(self.only_reader(name) is not None for name in names)

    def set_weights(self, value: Value, weights: Mapping[str, np.ndarray]) -> None:
        """Give the layer behind a value its parameters."""
        self._weights[value.node] = {name: np.array(one, np.float32) for name, one in weights.items()}

    def set_kernel(self, value: Value, kernel: np.ndarray, bias: np.ndarray | None) -> None:
        """Give a convolution or dense layer its kernel (C_out, ...) and its bias, if it has one."""
        self.set_weights(value, {"weight": kernel})
        if self._operations[value.node].name == "matmul":  # its layer always has a bias
            self._weights[value.node]["bias"] = np.zeros(len(kernel), np.float32)
        if bias is not None:
            self.add_bias(value, bias)

    def add_bias(self, value: Value, bias: np.ndarray) -> bool:
        """Give the layer behind a value a bias, one number for all channels or one each; False if it can have none."""
        state, channels = self._states[value.node], self.size(value)[2]
        metadata = state.get("metadata") or {}
        if self._operations[value.node].name in ("batchnorm", "layernorm", "groupnorm"):
            self._weights[value.node]["bias"] = np.asarray(self._weights[value.node]["bias"] + bias.ravel(), np.float32)
            return True
        if metadata.get("offset") == 0 and bias.size == 1:  # of a scale
            state["metadata"] = {**metadata, "offset": shortest(bias.item())}
            self._is_positive[value.node] &= bias.item() >= 0
            return True
        if self._operations[value.node].kind is not Kind.WEIGHTED or metadata.get("use_bias"):
            return False
        state["metadata"] = {**metadata, "use_bias": True}
        self._weights[value.node]["bias"] = np.broadcast_to(bias.ravel(), (channels,)).astype(np.float32)
        return True

    def norm(
        self, op: OnnxOp, x: Value, name: str, weights: tuple[np.ndarray, np.ndarray | None], **metadata: int
    ) -> Value:
        """Add a normalisation of a value, with its scales and offsets.

        Raises:
            Refusal: They are not one per channel.
        """
        scale, shift = weights
        bias = np.zeros_like(scale) if shift is None else shift
        if scale.shape != bias.shape or scale.shape != self.size(x)[2:]:
            raise op.error(f"scales of shape {scale.shape}; only one per channel can be represented")
        epsilon = shortest(op.attributes.get("epsilon", 1e-5))
        value = self.node(name, op.name, [x], self.size(x), metadata={"epsilon": epsilon, **metadata})
        self.set_weights(value, {"weight": scale, "bias": bias})
        return value

    def scale_norm(self, value: Value, factors: np.ndarray) -> bool:
        """Multiply the result of a normalisation of groups by one number per channel; False if it is no such."""
        if self._operations[value.node].name != "groupnorm":
            return False
        self.set_weights(value, {name: one * factors for name, one in self._weights[value.node].items()})
        return True

    def end(self) -> None:
        """Put an output node behind the model's result.

        Raises:
            ValueError: The result does not depend on the image.
        """
        result = self.values.get(self._model.output_name)
        if result is None:
            raise ValueError(f"the output {self._model.output_name!r} does not depend on the image")
        self.node("output", "output", [result], self.size(result))

    def number(self, sources: Sequence[Value], name: str) -> list[Value]:
        """Put a port behind each of some values, so that what reads the ports knows them apart."""
        return [
            self.node("port", f"{name}/port", [source], self.size(source), metadata={"port": place})
            for place, source in enumerate(sources)
        ]

    def keep_order(self, ids: Collection[str]) -> None:
        """Have concat nodes read their operands through ports, so that networks join them in the model's order."""
        for at in [at for at, state in enumerate(self._states) if state["str_id"] in ids]:
            if self._operations[self._sources[at][0]].name == "port":
                continue
            ports = self.number([Value(source, "NCHW") for source in self._sources[at]], self._names[at])
            self._sources[at] = tuple(port.node for port in ports)

    def graph(self, name: str) -> ComputeGraph:
        """The graph of all nodes.

        Raises:
            ValueError: There is not one input and one output.
        """
        nodes = [node_from_state(state, "shape" in state) for state in self._states]
        edges = [(source, at) for at, sources in enumerate(self._sources) for source in sources]
        graph = ComputeGraph.from_nodes(name, (1, *self.input_size), nodes, edges)
        _ = graph.input_index, graph.output_index  # raises unless there is one of each
        return graph

    def weights(self) -> dict[str, dict[str, np.ndarray]]:
        """Per node id, the parameters of its layer."""
        return {self._states[at]["str_id"]: weights for at, weights in self._weights.items()}

    def operands(self) -> dict[str, tuple[str, ...]]:
        """Per concat node, the ids of the nodes that it reads, in the model's order."""
        ids = [state["str_id"] for state in self._states]
        return {
            ids[at]: tuple(ids[source] for source in sources)
            for at, sources in enumerate(self._sources)
            if self._operations[at].channels is Channels.SUMMED
        }
