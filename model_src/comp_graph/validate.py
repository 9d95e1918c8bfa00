"""Is this a network? What comes out of files is checked here, once, before anything works with it.

Each rule names the node that breaks it. A network that passes can be hashed, drawn, costed and built.
"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite, prod
from operator import ge
from typing import Any

from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.moves import (
    CHOICES,
    added_channels_of,
    block_of,
    choice_of,
    index_of,
    parts_of,
    port_of,
    repeats_of,
)
from model_src.comp_graph.ops import Channels
from model_src.comp_graph.region import region_of
from model_src.comp_graph.sizes import pairs_of, window_of
from model_src.comp_graph.tf_comp_graph import WHOLE, ComputeGraph, Node, RegularNode, WeightedNode

LARGEST = 1 << 24  # pixels along an axis, or channels: float32 counts no further
LARGEST_FLOAT = (2 - 2**-23) * 2.0**127  # of float32
MOST_NUMBERS = 1 << 31  # numbers in a map
LONGEST_NAME = 1000  # characters
DEEPEST = 4  # tuples in tuples of a node's metadata
_ATOMS = frozenset((int, float, bool, str, type(None)))
_GRAPH_FIELDS = frozenset(
    ("name", "input_shape", "weighted_nodes", "regular_nodes", "edge_pairs", *ComputeGraph.NORMALISERS)
)
_NUMBERS = frozenset("alpha beta before bias epsilon factor max min offset size value".split())  # in metadata
_RULES: dict[str, Callable[[Node], object]] = {  # of what operations say in their metadata
    "broadcast": repeats_of,
    "clip": lambda node: _check_limits(node),
    "depthtospacend": block_of,
    "gather": index_of,
    "groupnorm": lambda node: node.groups,
    "lrn": lambda node: _check_neighbours(node),
    "opaque": region_of,
    "pad_channels": added_channels_of,
    "paddings": lambda node: _check_border(node),
    "port": port_of,
    "shuffle": lambda node: node.groups,
    "slice": parts_of,
    "spacetodepthnd": block_of,
}
_FIELDS = frozenset(("str_id", "label", "op_type_idx", "resolution", "strides", "metadata"))


def validate(graph: ComputeGraph, fresh: Iterable[int] | None = None) -> None:
    """Check that a graph is a whole network; 0.01 ms per node.

    Args:
        graph: The graph.
        fresh: Positions of the nodes whose fields are checked; None for all. Others are like ones that were.

    Raises:
        ValueError: It is not; the text names the node, if it is one, and the rule.
    """
    _check_graph(graph)
    for node in graph.nodes if fresh is None else [graph.nodes[position] for position in fresh]:
        validate_node(node)
    shape = graph.input_shape
    if not (_are_whole(shape, 4) and shape[0] == 1 and min(shape) >= 1):
        raise ValueError(f"its input shape {_shown(shape)} is not (1, H, W, C)")
    topological_order(graph)
    for node, before, behind in zip(graph.nodes, graph.predecessors, graph.successors, strict=True):
        if not (before or behind) and graph.n_nodes > 1:
            raise node.error("it is connected to nothing")
    _ = graph.output_index  # raises unless there is one; likewise below
    first = graph.nodes[graph.input_index]
    if first.in_shape != shape[1:]:
        raise first.error(f"it takes {_shown(first.in_shape)}, the graph's input shape is {_shown(shape)}")
    _check_edges(graph, is_whole=True)


def validate_node(node: Node) -> None:
    """Check a node by itself: types, ranges, and that what it gives follows from what it gets.

    Raises:
        ValueError: See `validate`.
    """
    _check_fields(node)
    _check_sizes(node)


def validate_edges(graph: ComputeGraph, is_whole: bool = True) -> None:
    """Check that valid nodes fit together: ids, order, and what goes along the edges.

    Args:
        graph: The graph.
        is_whole: Whether all that its nodes read is in it.

    Raises:
        ValueError: See `validate`.
    """
    topological_order(graph)
    _check_edges(graph, is_whole)


def _check_edges(graph: ComputeGraph, is_whole: bool) -> None:
    ids = [node.str_id for node in graph.nodes]
    if len(set(ids)) < len(ids):
        twice = next(one for position, one in enumerate(ids) if one in ids[:position])
        raise ValueError(f"two nodes have the id {_shown(twice)}")
    for node, sources in zip(graph.nodes, graph.predecessors, strict=True):
        if sources:
            _check_inputs(node, [graph.nodes[source] for source in sources], is_whole)


def _check_graph(graph: ComputeGraph) -> None:
    """Types of the graph's own fields; a pickle can put anything there."""
    if missing := _GRAPH_FIELDS - vars(graph).keys():
        raise ValueError(f"the graph lacks its {min(missing)}")
    if not isinstance(graph.name, str) or len(graph.name) > LONGEST_NAME:
        raise ValueError(f"its name is no text of at most {LONGEST_NAME} characters")
    if not graph.name.isprintable():
        raise ValueError("its name has characters that cannot be printed")
    for name, value in graph.normalisers.items():
        if value is not None and not (type(value) is int and 1 <= value <= LARGEST):
            raise ValueError(f"its {name} {_shown(value)} is no number from 1 on")
    for nodes, kind in ((graph.weighted_nodes, WeightedNode), (graph.regular_nodes, RegularNode)):
        if not isinstance(nodes, tuple) or not set(map(type, nodes)) <= {kind}:
            raise ValueError(f"among its {kind.__name__}s there is something else")
    edges, count = graph.edge_pairs, graph.n_nodes
    if not (
        isinstance(edges, tuple) and all(_are_whole(edge, 2) and 0 <= min(edge) <= max(edge) < count for edge in edges)
    ):
        raise ValueError(f"its edges are not pairs of numbers of its {count} nodes")
    if any(map(ge, edges, edges[1:])):
        raise ValueError("its edges are not in ascending order, or repeated")


def _check_fields(node: Node) -> None:
    """Types and ranges."""
    if missing := _FIELDS - vars(node).keys():
        raise ValueError(f"a node lacks its {min(missing)}")
    if not (isinstance(node.str_id, str) and isinstance(node.label, str)):
        raise ValueError(f"id {_shown(node.str_id)} or label {_shown(node.label)} of a node is no text")
    if max(len(node.str_id), len(node.label)) > LONGEST_NAME:
        raise ValueError(f"the id or label of a node has more than {LONGEST_NAME} characters")
    if not (node.str_id + node.label).isprintable():
        raise ValueError(f"the id {node.str_id!a:.60} or label of a node has characters that cannot be printed")
    if type(node.op_type_idx) is not int:
        raise node.error(f"its index of an operation {_shown(node.op_type_idx)} is no number")
    if not (_are_whole(node.resolution, 6) and min(node.resolution) >= 1 and max(node.resolution) <= LARGEST):
        raise node.error(f"its resolution {_shown(node.resolution)} is not six numbers from 1 to {LARGEST}")
    h_in, h_out, w_in, w_out, c_in, c_out = node.resolution
    if h_in * w_in * c_in > MOST_NUMBERS or h_out * w_out * c_out > MOST_NUMBERS:
        raise node.error(f"its map has more than {MOST_NUMBERS} numbers")
    _check_form(node)
    _ = node.operation  # raises where nobody registered it


def _check_form(node: Node) -> None:
    """Strides, kernel and metadata."""
    strides = node.strides
    if strides is not None and not (
        _are_whole(strides, 4) and min(strides) >= 1 and max(strides) <= LARGEST and strides[0] == strides[3] == 1
    ):
        raise node.error(f"its strides {_shown(strides)} are not (1, vertical, horizontal, 1), up to {LARGEST}")
    if isinstance(node, WeightedNode):
        shape = vars(node).get("shape", ())
        if not (_are_whole(shape, 4) and min(shape) >= 0 and max(shape) <= LARGEST):
            raise node.error(f"its kernel {_shown(shape)} is not (C_in, C_out, height, width)")
        if prod(shape) > MOST_NUMBERS:
            raise node.error(f"its kernel has more than {MOST_NUMBERS} numbers")
    if node.metadata is not None and not (isinstance(node.metadata, dict) and _is_plain(node.metadata, DEEPEST)):
        raise node.error("its metadata holds something other than names and plain values")
    given = node.metadata or {}
    for name in sorted(_NUMBERS & given.keys()):
        if type(given[name]) not in (int, float):
            raise node.error(f"its {name} is no number")
        if abs(given[name]) > LARGEST_FLOAT or (name == "epsilon" and given[name] < 0):
            raise node.error(f"its {name} {given[name]} is {'too large' if given[name] > 0 else 'too small'}")
    for name in CHOICES.get(node.operation.name, ()):
        choice_of(node, name)


def _check_sizes(node: Node) -> None:
    """What a node gives follows from what it gets."""
    operation, (h, w, c) = node.operation, node.in_shape
    try:
        window = window_of(node) if operation.has_window else None
        size = window.output_size(h, w) if window else operation.size(node, h, w)
    except (TypeError, IndexError, AttributeError) as error:
        raise node.error("its window cannot be read from its metadata") from error
    if window and max(*window.kernel, *window.dilation) > LARGEST:
        raise node.error(f"its window has a side or a dilation of more than {LARGEST} pixels")
    if size != node.out_shape[:2]:
        raise node.error(f"a {h}x{w} map becomes {size[0]}x{size[1]}, not {node.out_shape[0]}x{node.out_shape[1]}")
    if window and window.area(h, w) * c > MOST_NUMBERS:
        raise node.error(f"with the border that its window needs its map has more than {MOST_NUMBERS} numbers")
    if operation.channels is Channels.PASSED and c != node.out_shape[2]:
        raise node.error(f"it passes channels on, and has {c} and {node.out_shape[2]}")
    if operation.name in _RULES:
        _RULES[operation.name](node)
    if isinstance(node, WeightedNode):
        _ = node.groups  # raises where they do not divide the channels
        needed = operation.kernel_shape(c, node.out_shape[2], *node.shape[2:])
        if node.shape != needed:
            raise node.error(f"its kernel is {node.shape}, its channels need {needed}")


def _check_limits(node: Node) -> None:
    given = node.metadata or {}
    if not given.get("min", -1.0) < given.get("max", 1.0):
        raise node.error("its min is not below its max")


def _check_neighbours(node: Node) -> None:
    """A channel is normalised by some around it, which are read as zeros where there are none."""
    size, (h, w, c) = (node.metadata or {}).get("size", 5), node.in_shape
    if type(size) is not int or size % 2 == 0 or not 1 <= size <= LARGEST or (c + size) * h * w > MOST_NUMBERS:
        raise node.error(f"its size {size} is no odd number of channels, or too large")


def _check_border(node: Node) -> None:
    """A border can only repeat pixels that are there."""
    mode = choice_of(node, "mode")
    for size, pads in zip(node.in_shape, pairs_of(node, "pad_h", "pad_w"), strict=False):
        most = {"reflect": size - 1, "wrap": size}.get(mode, MOST_NUMBERS)
        if max(pads) > most:
            raise node.error(f"a border of {max(pads)} pixels cannot {mode} a map of {size}")


def _check_regions_inputs(node: Node, sources: Sequence[Node]) -> None:
    """What a region reads are the maps that it was made for."""
    found = [source.out_shape for source in sorted(sources, key=port_of)]
    needed = [(h, w, c) for c, h, w in region_of(node).inputs]
    if found != needed:
        raise node.error(f"it takes maps of {needed} and gets {found}")


def _check_inputs(node: Node, sources: Sequence[Node], is_whole: bool) -> None:
    """What a node gets is what those before it give, in a part also what is not there; channels in excess are cut."""
    if node.operation.reads_apart:
        if is_whole:
            _check_regions_inputs(node, sources)
        return
    operation, (h, w, c) = node.operation, node.in_shape
    for source in sources:
        size = source.out_shape[:2]
        if size != (h, w) and not (operation.is_product and size == (1, 1)):
            raise node.error(f"it takes {h}x{w} maps, node {source.str_id} gives {size[0]}x{size[1]}")
    widths, c_out = [source.out_shape[2] for source in sources], node.out_shape[2]
    if operation.channels is Channels.SUMMED:
        if sum(widths) > c_out or (is_whole and sum(widths) < c_out):
            raise node.error(f"it joins {sum(widths)} channels and says {c_out}")
    elif min(widths) < c and (len(widths) == 1 or operation.has_parameters):
        raise node.error(f"it needs {c} channels and gets {min(widths)}")


def _are_whole(value: Any, count: int) -> bool:
    return type(value) is tuple and len(value) == count and set(map(type, value)) == {int}


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value is made of names, finite numbers of 64 bits and texts."""
    if type(value) is int:
        return -WHOLE <= value < WHOLE
    if type(value) in _ATOMS:
        return type(value) is not float or isfinite(value)
    if isinstance(value, dict):
        return depth > 0 and all(type(key) is str and _is_plain(one, depth - 1) for key, one in value.items())
    if not isinstance(value, list | tuple):
        return False
    return set(map(type, value)) <= {str, bool} or (depth > 0 and all(_is_plain(one, depth - 1) for one in value))


def _shown(value: Any) -> str:
    """A value as a short text, whatever it is."""
    if type(value) is tuple and len(value) <= 8:
        text = f"({', '.join(map(_shown, value))})"
    elif type(value) is int and not -WHOLE <= value < WHOLE:
        text = "of more than 64 bits"
    else:
        text = repr(value) if type(value) in _ATOMS else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
