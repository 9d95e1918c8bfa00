"""What the PyTorch and the TensorFlow network of a graph have in common: order, names, wiring, operation registry.

Needs neither TensorFlow nor PyTorch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph, Node

Layer = TypeVar("Layer")


_NEED_ALL_CHANNELS = ("conv", "depthwise", "batchnorm", "matmul")


@dataclass(frozen=True)
class Step:
    """One node of a network that is run node by node.

    Attributes:
        name: `op_{id}/{operation}`, the same in every process; what the weights are stored under.
        op: The operation's label in the vocabulary.
        node: The node.
        use_bias: Whether a convolution adds a bias.
        sources: Earlier steps whose results it reads, ascending; none: it reads the network's input.
        last_readers: Steps whose result nobody reads after this one.
    """

    name: str
    op: str
    node: Node
    use_bias: bool
    sources: tuple[int, ...]
    last_readers: tuple[int, ...]

    def error(self, reason: str) -> ValueError:
        """An error that names the node and its operation."""
        return ValueError(f"node {self.node.str_id} ({self.op}, label {self.node.label!r}): {reason}")

    def input_width(self, widths: Sequence[int]) -> int:
        """Channels that are kept of every input before they are joined: the narrowest's, or those the node needs.

        Raises:
            ValueError: There are fewer than the node needs.
        """
        narrowest, needed = min(widths), self.node.resolution[4]
        if len(widths) > 1 and self.op not in _NEED_ALL_CHANNELS:
            return narrowest
        if narrowest < needed:
            raise self.error(f"it gets {narrowest} input channels and needs {needed}")
        return needed


@dataclass(frozen=True)
class NetworkPlan:
    """The steps of a network in the order in which they run, and the steps whose results are its outputs."""

    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


def plan_network(
    cg: ComputeGraph, op_overrides: Mapping[str, str] | None = None, enable_bias: bool = False
) -> NetworkPlan:
    """Order a graph's nodes for running: each after all that it reads.

    Args:
        cg: The graph.
        op_overrides: Vocabulary label -> label of the operation to run instead, as {"batchnorm": "identity"}.
        enable_bias: Give every convolution a bias, whatever its node says.

    Raises:
        ValueError: The graph has a cycle, or no node.
    """
    if not cg.n_nodes:
        raise ValueError(f"{cg.name}: the graph has no node")
    op2i, overrides = OP2I().build_from_file(), op_overrides or {}
    order = topological_order(cg)
    position = {index: step for step, index in enumerate(order)}
    last_reader = {index: max((position[i] for i in cg.successors[index]), default=None) for index in order}
    finished: list[list[int]] = [[] for _ in order]
    for index, reader in last_reader.items():
        if reader is not None:
            finished[reader].append(position[index])
    steps = []
    for ident, index in zip(_identifiers(cg, order), order, strict=True):
        node = cg.nodes[index]
        op = op2i.query_op(node.op_type_idx)
        op = overrides.get(op, op)
        sources = tuple(sorted(position[source] for source in cg.predecessors[index]))
        use_bias = enable_bias or node.use_bias
        steps.append(Step(f"op_{ident}/{op}", op, node, use_bias, sources, tuple(finished[len(steps)])))
    return NetworkPlan(tuple(steps), tuple(position[index] for index in order if last_reader[index] is None))


def _identifiers(cg: ComputeGraph, order: list[int]) -> list[str]:
    """Per step the node's id without the TensorFlow path behind `|`; node indices where ids are not unique."""
    ids = [cg.nodes[index].str_id.partition("|")[0].replace(".", "_") for index in order]
    return ids if len(set(ids)) == len(ids) else [str(index) for index in order]


class Window(NamedTuple):
    """A sliding window; each pair is (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool  # padding as TensorFlow's SAME; otherwise none


def window_of(step: Step) -> Window:
    """The window of a convolution or pool.

    Raises:
        ValueError: The kernel, stride or dilation is missing or not made of positive whole numbers.
    """
    node, metadata = step.node, step.node.metadata or {}
    kernel = node.shape[2:] if node.type_idx else metadata.get("ksize", ())[1:3]
    rate = metadata.get("dil_rate")
    dilation = (rate, rate) if rate else (metadata.get("dilations") or (1, 1, 1, 1))[1:3]
    window = Window(kernel, (node.strides or (1, 1, 1, 1))[1:3], dilation, node.padding == "same")
    for name, pair in zip(("kernel", "stride", "dilation"), window[:3], strict=True):
        if len(pair) != 2 or any(not isinstance(size, int) or size < 1 for size in pair):
            raise step.error(f"its {name} {tuple(pair)} is not two positive whole numbers")
    return window


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME adds (before, after) along an axis of `size` pixels."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def check_convolution(step: Step) -> None:
    """Check that a plain or depthwise convolution layer can stand for the node.

    Raises:
        ValueError: The node is a transposed convolution, or a depthwise one that changes the number of channels.
    """
    c_in, c_out = step.node.resolution[4:]
    if "transpose" in step.node.label:
        raise step.error("transposed convolutions exist in segmentation networks only")
    if step.op == "depthwise" and c_in != c_out:
        raise step.error(f"{c_in} input and {c_out} output channels; a depthwise convolution keeps them")


class LayerRegistry(Generic[Layer]):
    """Operation label -> function that builds its layer from a step."""

    def __init__(self, builders: Mapping[str, Callable[[Step], Layer]] | None = None):
        self.builders = dict(builders or {})

    def register(self, *ops: str) -> Callable:
        """Decorator: build the layers of these operations.

        Raises:
            ValueError: One of them has a builder.
        """

        def add(builder: Callable[[Step], Layer]) -> Callable[[Step], Layer]:
            for op in ops:
                if op in self.builders:
                    raise ValueError(f"operation {op!r} has two builders")
                self.builders[op] = builder
            return builder

        return add

    def build(self, step: Step) -> Layer:
        """The layer of a step.

        Raises:
            ValueError: The operation is not known, or the node's sizes do not fit it.
        """
        if step.op not in self.builders:
            raise step.error(f"unknown operation; known are {', '.join(sorted(self.builders))}")
        return self.builders[step.op](step)
