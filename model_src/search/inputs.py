"""The network that a search starts from, at the size of image that was asked for."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from model_src.comp_graph.importers.wording import listed
from model_src.comp_graph.inheritance import inherit
from model_src.comp_graph.load import load_network, load_part
from model_src.comp_graph.rest import Rest, load_rest
from model_src.comp_graph.sizes import window_of
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, Shape
from model_src.comp_graph.tf_comp_graph_utils import corrected_with_ids
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import InputError
from model_src.search.exporting import rest_in
from model_src.search.result_folder import RESULTS, ResultFolder

logger = logging.getLogger(__name__)

_ANEW = "import the network for images of that size"


def read_input(args: argparse.Namespace, folder: ResultFolder | None, size: Shape) -> tuple[WeightedGraph, Rest | None]:
    """The input of a search, and what comes behind it where it is a part of a network.

    Args:
        args: The flags of `autogo.py`.
        folder: The folder of a search that goes on, which has a copy of its input.
        size: (H, W, C) that it is to have.

    Raises:
        InputError: It cannot be read, or not for that size.
    """
    path, check = folder.input_path if folder else Path(args.model_path), not args.no_check
    if args.output_node and not folder:
        if args.lenient_pb:
            raise InputError("-lenient_pb reads whole files only; leave it out or -output_node")
        return load_part(path, args.output_node, *size, check=check)
    found = load_network(path, *size, check=check, lenient_pb=args.lenient_pb)
    rest = _rest_of(path)
    if rest and size != found.graph.input_shape[1:]:
        raise InputError(f"{args.model_path}: what comes behind it is for images of its own size only")
    return at_size(found, size, args.model_path), rest


def _rest_of(path: Path) -> Rest | None:
    """What comes behind the network of one of our files; that of a result lies beside its search's input.

    Raises:
        InputError: It is missing or damaged.
    """
    if not path.name.endswith((".pkl", ".json", ".json.gz")):
        return None
    rest = load_rest(path)
    return rest_in(ResultFolder(path.parent)) if rest is None and path.match(RESULTS) else rest


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
        if source.weights is not None:
            _check_same_function(source.graph, graph, ids)
    except ValueError as error:
        raise InputError(f"{sizes}, and cannot be changed: {error}") from error
    before, after = (cg.nodes[cg.output_index].out_shape for cg in (source.graph, graph))
    if before[:2] == (1, 1) != after[:2]:
        raise InputError(f"{sizes}, and cannot be changed: its result would be a map of {after[0]}x{after[1]}")
    return WeightedGraph(graph, None if source.weights is None else inherit(graph, ids, source).weights)


def _check_same_function(own: ComputeGraph, other: ComputeGraph, ids: Sequence[str]) -> None:
    """Refuse a size at which the network that the weights came from may do something else than the graph does.

    A graph knows neither the pixels of a padding that no window reached, nor whether a size was asked for or a factor.

    Args:
        own: The graph.
        other: The graph at another size.
        ids: Of the nodes of `own` that its nodes were made of.

    Raises:
        ValueError: There is a window whose steps do not fit the change of size.
    """
    nodes = {node.str_id: node for node in own.nodes}
    for node, before in ((node, nodes[name]) for node, name in zip(other.nodes, ids, strict=True) if name in nodes):
        if not node.operation.has_window:
            continue
        sizes = zip(before.in_shape[:2], node.in_shape[:2], window_of(before).stride, strict=True)
        if any((new - old) % step for old, new, step in sizes):
            old, new = (f"{h}x{w}" for h, w, _ in (before.in_shape, node.in_shape))
            raise before.error(f"its steps leave other pixels out of a {new} map than of a {old} one; {_ANEW}")
    if asked := [node.str_id for node in own.nodes if _may_be_asked_for(node)]:
        text = "%s: %s may have been asked for a size, which another image would not change; %s to be sure"
        logger.warning(text, own.name, listed(asked), _ANEW)


def _may_be_asked_for(node: Node) -> bool:
    """Whether a node may be an adaptive pool or a resize to a size, which it does not say."""
    if node.operation.name == "avgpool":
        window = window_of(node)
        return window.kernel == window.stride and node.out_shape[:2] != (1, 1) and max(window.kernel) > 2
    return node.operation.name == "resize"
