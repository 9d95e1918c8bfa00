"""Canonical hashes of networks in which a segment was replaced, without building them."""

from collections.abc import Sequence

from model_src.comp_graph.graph_ops import hash_of_colours, mix_in, prune_merges, topological_order
from model_src.comp_graph.segment import Cut, Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph


class ReplacementHashes:
    """What `canonical_hash` gives for networks that differ from one by a segment.

    Nodes before the segment (in topological order) keep their colours of the sweep down. Nobody renumbers nodes or
    sorts edges, which takes longer than the hash.
    """

    def __init__(self, cg: ComputeGraph):
        self._cg, self._order = cg, topological_order(cg)
        self._position = {index: position for position, index in enumerate(self._order)}
        self._digests = [node.digest for node in cg.nodes]
        self._down = self._digests.copy()
        mix_in(self._down, self._order, cg.predecessors)
        self._has_idle_merges = prune_merges(cg) is not cg

    def of(self, place: Cut, segment: Segment, input_map: Sequence[int], output_map: Sequence[int]) -> str | None:
        """The canonical hash of what `replace_segment` gives for these arguments.

        Returns:
            None where the replacement bypasses merges, or the nodes taken out do not follow each other in topological
            order: then the network has to be built.
        """
        positions = [self._position[index] for index in place.indices]
        first, stop = min(positions), max(positions) + 1
        sources, targets = self._wiring(place, segment, input_map, output_map)
        if stop - first != len(positions) or self._has_idle_merges or self._leaves_idle_merges(segment, sources):
            return None
        count = self._cg.n_nodes
        after = self._order[stop:]
        changed = [*(count + index for index in topological_order(segment.graph)), *after]
        colours = [*self._down, *(node.digest for node in segment.graph.nodes)]
        for index in after:
            colours[index] = self._digests[index]
        mix_in(colours, changed, _with(self._cg.predecessors, segment, sources))
        order = self._order[:first] + changed
        mix_in(colours, reversed(order), _with(self._cg.successors, segment, targets))
        return hash_of_colours(colours[index] for index in order)

    def _wiring(
        self, place: Cut, segment: Segment, input_map: Sequence[int], output_map: Sequence[int]
    ) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
        """Predecessors of the nodes where these change, and successors; new nodes count from the last old one on."""
        count, removed = self._cg.n_nodes, set(place.indices)
        sources = {count + i: {count + j for j in entry} for i, entry in enumerate(segment.graph.predecessors)}
        targets = {count + i: {count + j for j in entry} for i, entry in enumerate(segment.graph.successors)}
        for reader in {reader for readers in place.readers for reader in readers}:
            sources[reader] = set(self._cg.predecessors[reader]) - removed
        for source in place.sources:
            targets[source] = set(self._cg.successors[source]) - removed
        edges = [(place.sources[to], count + i) for port, to in enumerate(input_map) for i in segment.inputs[port]]
        for port, to in enumerate(output_map):
            edges += [(count + segment.outputs[port], reader) for reader in place.readers[to]]
        for source, target in edges:
            sources[target].add(source)
            targets[source].add(target)
        return sources, targets

    def _leaves_idle_merges(self, segment: Segment, sources: dict[int, set[int]]) -> bool:
        nodes = self._cg.nodes + segment.graph.nodes
        return any(len(entry) == 1 and nodes[index].operation.is_idle(1) for index, entry in sources.items())


def _with(neighbours: Sequence[Sequence[int]], segment: Segment, changed: dict[int, set[int]]) -> list[Sequence[int]]:
    """Neighbours of old and new nodes, after what changes."""
    entries: list[Sequence[int]] = [*neighbours, *([()] * segment.graph.n_nodes)]
    for index, entry in changed.items():
        entries[index] = tuple(entry)
    return entries
