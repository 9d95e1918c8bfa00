"""The network that a search starts from, at the size of image that was asked for."""

from model_src.comp_graph.inheritance import inherit
from model_src.comp_graph.tf_comp_graph import Shape
from model_src.comp_graph.tf_comp_graph_utils import corrected_with_ids
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import InputError


def at_size(source: WeightedGraph, size: Shape, name: str) -> WeightedGraph:
    """The network for images of another size: all sizes are inferred anew, the weights stay.

    Args:
        source: The network.
        size: (H, W, C).
        name: What errors call the network.

    Raises:
        InputError: It takes other channels, or a node does not fit maps of other sizes; the text has both sizes.
    """
    own: Shape = source.graph.input_shape[1:]
    if size == own:
        return source
    here, there = ("x".join(map(str, one)) for one in (size, own))
    sizes = f"-input_h, -input_w, -input_c: {here} given, the input of {name} is {there}"
    if size[2] != own[2]:
        raise InputError(f"{sizes}; its channels cannot be changed")
    try:
        graph, ids = corrected_with_ids(source.graph, *size)
    except ValueError as error:
        raise InputError(f"{sizes}, and cannot be changed: {error}") from error
    before, after = (cg.nodes[cg.output_index].out_shape for cg in (source.graph, graph))
    if before[:2] == (1, 1) != after[:2]:
        raise InputError(f"{sizes}, and cannot be changed: its result would be a map of {after[0]}x{after[1]}")
    return WeightedGraph(graph, None if source.weights is None else inherit(graph, ids, source).weights)
