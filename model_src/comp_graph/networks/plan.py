"""What the PyTorch and the TensorFlow network of a graph have in common: order, names and wiring.

Needs neither TensorFlow nor PyTorch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.moves import port_of
from model_src.comp_graph.ops import OPERATIONS, Channels, Operation
from model_src.comp_graph.registry import MissingOperation, Registry
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node

Function = TypeVar("Function", bound=Callable[..., Any])

LRN_DEFAULTS = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}


@dataclass(frozen=True)
class Step:
    """One node of a network that is run node by node.

    Attributes:
        name: `op_{id}/{operation}`, the same in every process; what the weights are stored under.
        operation: The operation that is run, the node's unless another one is run in its place.
        node: The node.
        use_bias: Whether a convolution adds a bias.
        sources: Earlier steps whose results it reads, those of ports by their numbers, others ascending; none: it
            reads the network's input.
        last_readers: Steps whose result nobody reads after this one.
    """

    name: str
    operation: Operation
    node: Node
    use_bias: bool
    sources: tuple[int, ...]
    last_readers: tuple[int, ...]

    @property
    def op(self) -> str:
        """The operation's name."""
        return self.operation.name

    def error(self, reason: str) -> ValueError:
        """An error that names the node."""
        return self.node.error(reason)

    def number(self, name: str, default: float) -> float:
        """A number that the node's metadata may give.

        Raises:
            ValueError: What they give is none.
        """
        value = (self.node.metadata or {}).get(name, default)
        if type(value) not in (int, float) or not isfinite(value):
            raise self.error(f"its {name} is no number")
        return float(value)

    def function_in(self, registry: Registry[Function]) -> Function:
        """What stands for the operation in a backend.

        Raises:
            ValueError: Nothing does.
        """
        try:
            return registry[self.op]
        except MissingOperation as error:
            raise self.error(str(error)) from error

    def input_width(self, widths: Sequence[int]) -> int:
        """Channels that are kept of every input before they are joined: the narrowest's, or those the node needs.

        Raises:
            ValueError: There are fewer than the node needs.
        """
        narrowest, needed = min(widths), self.node.resolution[4]
        if len(widths) > 1 and not self.operation.has_parameters:
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
        op_overrides: Name of an operation -> name of the operation to run instead, as {"batchnorm": "identity"}.
        enable_bias: Give every convolution a bias, whatever its node says.

    Raises:
        ValueError: The graph has a cycle, no node, or an operation that nobody registered.
    """
    if not cg.n_nodes:
        raise ValueError(f"{cg.name}: the graph has no node")
    overrides = {name: OPERATIONS[other] for name, other in (op_overrides or {}).items()}
    order = topological_order(cg)
    position = {index: step for step, index in enumerate(order)}
    last_reader = {index: max((position[i] for i in cg.successors[index]), default=None) for index in order}
    finished: list[list[int]] = [[] for _ in order]
    for index, reader in last_reader.items():
        if reader is not None:
            finished[reader].append(position[index])
    steps: list[Step] = []
    for ident, index in zip(_identifiers(cg, order), order, strict=True):
        node = cg.nodes[index]
        operation = overrides.get(node.operation.name, node.operation)
        ports = {position[source]: port_of(cg.nodes[source]) for source in cg.predecessors[index]}
        sources = tuple(sorted(ports, key=lambda at: (ports[at], at)))
        use_bias = enable_bias or node.use_bias
        readers = tuple(finished[len(steps)])
        steps.append(Step(f"op_{ident}/{operation.name}", operation, node, use_bias, sources, readers))
    return NetworkPlan(tuple(steps), tuple(position[index] for index in order if last_reader[index] is None))


def _identifiers(cg: ComputeGraph, order: list[int]) -> list[str]:
    """Per step the node's id without the TensorFlow path behind `|`; node indices where ids are not unique."""
    ids = [cg.nodes[index].str_id.partition("|")[0].replace(".", "_") for index in order]
    return ids if len(set(ids)) == len(ids) else [str(index) for index in order]


def check_convolution(step: Step) -> None:
    """Check that a convolution layer can stand for the node.

    Raises:
        ValueError: It is a depthwise convolution that changes the number of channels, or groups do not divide them.
    """
    _ = step.node.groups  # raises
    c_in, c_out = step.node.resolution[4:]
    if step.operation.channels is Channels.PASSED and c_in != c_out:
        raise step.error(f"{c_in} input and {c_out} output channels; a depthwise convolution keeps them")
