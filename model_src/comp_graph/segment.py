"""A part of a network, seen as a function from input tensors to output tensors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from model_src.comp_graph.graph_ops import canonical_hash, induced_subgraph, prune_merges
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape


@dataclass(frozen=True, eq=False)
class Segment:
    """A sub-graph and its boundary ports.

    Ports are counted in tensors, the same way for a segment that is taken out and for one that is put in: an outside
    tensor that feeds two nodes is one input, a node with three outside readers is one output.

    Attributes:
        graph: The nodes and the edges between them.
        inputs: Per input tensor, the indices of the nodes that read it.
        input_shapes: Per input tensor, (H, W, C).
        outputs: Indices of the nodes whose result leaves the segment.
        text: The segment's encoded text.
    """

    graph: ComputeGraph
    inputs: tuple[tuple[int, ...], ...]
    input_shapes: tuple[Shape, ...]
    outputs: tuple[int, ...]
    text: str = ""

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # what is worked out stays here

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        """(H, W, C) of every output tensor."""
        return tuple(self.graph.nodes[index].out_shape for index in self.outputs)

    @cached_property
    def part(self) -> ComputeGraph:
        """The segment as the predictor sees it: merges with one input left are bypassed."""
        return prune_merges(self.graph)

    @cached_property
    def is_complete(self) -> bool:
        """Whether every concat reads all the channels that it gives.

        Most concats of a published database do not: it keeps no input from outside for a node that has one inside.
        """
        channels = [sum(self.graph.nodes[source].out_shape[2] for source in entry) for entry in self.graph.predecessors]
        for readers, shape in zip(self.inputs, self.input_shapes, strict=True):
            for index in readers:
                channels[index] += shape[2]
        nodes = zip(self.graph.nodes, channels, strict=True)
        return all(node.op_name != "concat" or node.out_shape[2] == count for node, count in nodes)

    @cached_property
    def identity(self) -> str:
        """Canonical hash of the sub-graph."""
        return canonical_hash(self.graph)


@dataclass(frozen=True, eq=False)
class Cut:
    """A segment together with where its ports are attached in the network that it was taken from.

    Attributes:
        segment: The segment.
        indices: The network's nodes that form it, ascending.
        sources: Per input tensor, the network's node that produces it.
        readers: Per output tensor, the network's nodes outside that read it.
    """

    segment: Segment
    indices: tuple[int, ...]
    sources: tuple[int, ...]
    readers: tuple[tuple[int, ...], ...]


def cut(cg: ComputeGraph, indices: Iterable[int], text: str = "") -> Cut:
    """Take the given nodes out of a network, with a port for every tensor that crosses the boundary."""
    kept = sorted(set(indices))
    position = {index: new for new, index in enumerate(kept)}
    consumers: dict[int, list[int]] = {}
    for index in kept:
        for source in cg.predecessors[index]:
            if source not in position:
                consumers.setdefault(source, []).append(position[index])
    sources = tuple(sorted(consumers))
    outside = [tuple(target for target in cg.successors[index] if target not in position) for index in kept]
    segment = Segment(
        graph=induced_subgraph(cg, kept),
        inputs=tuple(tuple(consumers[source]) for source in sources),
        input_shapes=tuple(cg.nodes[source].out_shape for source in sources),
        outputs=tuple(new for new, targets in enumerate(outside) if targets),
        text=text,
    )
    return Cut(segment, tuple(kept), sources, tuple(targets for targets in outside if targets))


def cut_segment(cg: ComputeGraph, indices: Iterable[int], text: str = "") -> Segment:
    """The segment that the given nodes of a network form."""
    return cut(cg, indices, text).segment


def segment_from_subgraph(graph: ComputeGraph, text: str = "") -> Segment:
    """A segment without recorded ports: nodes without predecessors are inputs, nodes without successors outputs."""
    starts = [index for index, sources in enumerate(graph.predecessors) if not sources]
    return Segment(
        graph=graph,
        inputs=tuple((index,) for index in starts),
        input_shapes=tuple(graph.nodes[index].in_shape for index in starts),
        outputs=tuple(index for index, targets in enumerate(graph.successors) if not targets),
        text=text,
    )


def replace_segment(
    cg: ComputeGraph, place: Cut, segment: Segment, input_map: Sequence[int], output_map: Sequence[int], prefix: str
) -> ComputeGraph:
    """Put another segment where `place` was cut; the result keeps the network's name, input and normalisers.

    Args:
        cg: The network.
        place: What is taken out of it.
        segment: What is put in; its shapes must fit.
        input_map: Per input tensor of `segment`, the input of `place` that it is connected to.
        output_map: Per output tensor of `segment`, the output of `place` that it stands for.
        prefix: Begins the ids of the new nodes; must be new to the network.
    """
    removed = set(place.indices)
    kept = [index for index in range(cg.n_nodes) if index not in removed]
    position = {index: new for new, index in enumerate(kept)}
    first = len(kept)
    edges = [(position[s], position[t]) for s, t in cg.edge_pairs if s not in removed and t not in removed]
    edges += [(first + source, first + target) for source, target in segment.graph.edge_pairs]
    for port, target in enumerate(input_map):
        edges += [(position[place.sources[target]], first + index) for index in segment.inputs[port]]
    for port, target in enumerate(output_map):
        edges += [(first + segment.outputs[port], position[reader]) for reader in place.readers[target]]
    new_nodes = [node.with_id(f"{prefix}{number}") for number, node in enumerate(segment.graph.nodes)]
    nodes = [cg.nodes[index] for index in kept] + new_nodes
    return prune_merges(ComputeGraph.from_nodes(cg.name, cg.input_shape, nodes, edges, cg.normalisers))
