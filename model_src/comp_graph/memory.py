"""Memory that a network's activations take while it runs."""

from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.tf_comp_graph import ComputeGraph

BYTES_PER_VALUE = 4  # float32


def peak_activation_bytes(cg: ComputeGraph) -> int:
    """The largest sum of bytes of activations alive at once, for one image in float32.

    Nodes run in topological order, none in place. A node's result (H x W x C values) is alive from when the node runs
    until all its readers have run; results that nobody reads stay to the end.

    Raises:
        ValueError: The graph has a cycle.
    """
    sizes = [BYTES_PER_VALUE * h * w * c for h, w, c in (node.out_shape for node in cg.nodes)]
    unread = [len(readers) for readers in cg.successors]
    alive = peak = 0
    for index in topological_order(cg):
        alive += sizes[index]
        peak = max(peak, alive)
        for source in cg.predecessors[index]:
            unread[source] -= 1
            if not unread[source]:
                alive -= sizes[source]
    return peak
