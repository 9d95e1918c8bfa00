"""What a network keeps of the weights of the one that it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_src.comp_graph.networks.plan import NetworkPlan, Step, plan_network
from model_src.comp_graph.ops import Channels, Kind
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node
from model_src.comp_graph.weights import LayerWeights, NodeWeights, WeightedGraph


@dataclass(frozen=True, eq=False)
class Inheritance:
    """The weights of a network that are those of its origin.

    Attributes:
        weights: By node id of the network; of nodes that inherit.
        new: Ids of the nodes with parameters that do not.
        harmless: Those of `new` that end a branch into a sum: with zeros there, the branch adds nothing at first.
    """

    weights: Mapping[str, LayerWeights]
    new: frozenset[str]
    harmless: frozenset[str]

    @property
    def summary(self) -> str:
        """How many layers inherit."""
        return f"{len(self.weights)} of {len(self.weights) + len(self.new)}"


def all_of(weights: NodeWeights) -> Inheritance:
    """The weights of a network that has them all."""
    return Inheritance(weights, frozenset(), frozenset())


def for_changed(inherited: Inheritance, before: ComputeGraph, after: ComputeGraph) -> Inheritance:
    """What is left to inherit where a network's nodes were changed: layers that are still the same."""
    old = {node.str_id: node for node in before.nodes}
    kept = {node.str_id for node in after.nodes if node.str_id in old and _same_layer(node, old[node.str_id])}
    lost = inherited.weights.keys() - kept
    weights = {name: own for name, own in inherited.weights.items() if name in kept}
    return Inheritance(weights, inherited.new | lost, inherited.harmless)


def inherit(graph: ComputeGraph, origins: Sequence[str], source: WeightedGraph) -> Inheritance:
    """Find the layers that no swap brought in and whose operation, kernel, stride and channels are the source's.

    A layer behind a concatenation whose operands come in another order than the source's does not inherit.

    Args:
        graph: The network.
        origins: Per node of it, the id of the node of the source that it was made of, or any other id.
        source: The network that it came from, with its weights.
    """
    before = {node.str_id: node for node in source.graph.nodes}
    plan = plan_network(graph)
    origin = {node.str_id: name for node, name in zip(graph.nodes, origins, strict=True)}
    shuffled = _shuffled(plan, origin, plan_network(source.graph))
    weights: dict[str, LayerWeights] = {}
    new: set[str] = set()
    for step in plan.steps:
        if not step.operation.parameters(step.node):
            continue
        old = before.get(origin[step.node.str_id])
        reads_shuffled = any(source_step in shuffled for source_step in step.sources)
        known = (source.weights or {}).get(old.str_id) if old else None
        if old is not None and known is not None and not reads_shuffled and _same_layer(step.node, old):
            weights[step.node.str_id] = known
        else:
            new.add(step.node.str_id)
    return Inheritance(weights, frozenset(new), frozenset(_harmless(plan, new)))


def _same_layer(node: Node, old: Node) -> bool:
    """Whether two nodes have the same operation, kernel, stride and channels; maps may differ in size."""
    return _layer(node) == _layer(old)


def _layer(node: Node) -> tuple[object, ...]:
    state = node.state_dict()
    return node.operation.name, node.resolution[4:], state.get("shape"), state.get("strides"), state.get("metadata")


def _shuffled(plan: NetworkPlan, origin: Mapping[str, str], before: NetworkPlan) -> set[int]:
    """Steps whose channels come in another order than in the source, up to the next layer that mixes them anyway."""
    old = {step.node.str_id: step for step in before.steps}
    shuffled: set[int] = set()
    for position, step in enumerate(plan.steps):
        if step.operation.kind is Kind.WEIGHTED and step.operation.channels is Channels.CHOSEN:
            continue
        own = old.get(origin[step.node.str_id])
        joins_otherwise = (
            step.operation.channels is Channels.SUMMED
            and own is not None
            and _operands(step, plan, origin) != _operands(own, before, {name: name for name in old})
        )
        if joins_otherwise or any(source in shuffled for source in step.sources):
            shuffled.add(position)
    return shuffled


def _operands(step: Step, plan: NetworkPlan, origin: Mapping[str, str]) -> list[tuple[str, int]]:
    """What a concatenation reads, in order, with its channels."""
    nodes = [plan.steps[source].node for source in step.sources]
    return [(origin[node.str_id], node.resolution[5]) for node in nodes]


def _harmless(plan: NetworkPlan, new: set[str]) -> set[str]:
    """New layers that nothing reads but sums, which read something else besides."""
    readers: list[list[int]] = [[] for _ in plan.steps]
    for position, step in enumerate(plan.steps):
        for source in step.sources:
            readers[source].append(position)
    ends = {
        position
        for position, step in enumerate(plan.steps)
        if step.node.str_id in new
        and step.op != "prelu"  # whose zeros are no zero
        and readers[position]
        and all(plan.steps[reader].op == "add" and len(plan.steps[reader].sources) > 1 for reader in readers[position])
    }
    for step in plan.steps:
        if step.op == "add" and len(step.sources) > 1 and all(source in ends for source in step.sources):
            ends.discard(step.sources[0])
    return {plan.steps[position].node.str_id for position in ends}
