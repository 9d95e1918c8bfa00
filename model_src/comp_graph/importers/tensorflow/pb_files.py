"""Frozen TensorFlow graph in a file -> computation graph with weights.

Two readers look at it. What the strict one cannot hold exactly is refused. Where the published one (`frozen.py`), whose
nodes and names published files have, finds a graph that computes the same, that is taken, with the weights; otherwise
the strict one's.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import bypass, isomorphism, same_topology
from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.op import Refusal
from model_src.comp_graph.importers.options import given_size
from model_src.comp_graph.importers.tensorflow.cut import cut_graph
from model_src.comp_graph.importers.tensorflow.frozen import from_graph_def, parse
from model_src.comp_graph.importers.tensorflow.rest import with_rest
from model_src.comp_graph.importers.tensorflow.strict import read_frozen
from model_src.comp_graph.tf_comp_graph import Node, Shape
from model_src.files import naming, read_bytes

if TYPE_CHECKING:
    import tensorflow as tf


def load_pb(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
    check: bool = True,
    output_node: str | None = None,
) -> ImportedNetwork:
    """Read a frozen GraphDef with its weights; the graph is named after the file.

    Args:
        path: The file.
        input_h: Input height in pixels; with width and channels it replaces what the file says.
        input_w: Input width in pixels.
        input_c: Input channels.
        normalisers: Feature normalisers by name; a missing one is derived from the graph, None derives all.
        check: Whether to compare what was read with the original on random images.
        output_node: A tensor (`split:1`), or the operation that gives it, at which the graph ends; what comes behind it
            becomes the `rest`. The network may have several outputs then.

    Raises:
        InputError: The file is missing, is no GraphDef, has an operation that a graph cannot hold, the graph does not
            compute what it does, or the network cannot be cut there.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    with naming(path):
        graph_def = parse(read_bytes(path))
        if output_node is not None:
            halves = cut_graph(graph_def, output_node, size)
            return with_rest(_read(halves.front, path.stem, size, normalisers, check), halves, check)
        try:
            return _read(graph_def, path.stem, size, normalisers, check)
        except Refusal as error:
            raise ValueError(f"{error}; -lenient_pb reads the graph alone, as published") from error


def _read(
    graph_def: "tf.compat.v1.GraphDef",
    name: str,
    size: Shape | None,
    normalisers: Mapping[str, int | None] | None,
    check: bool,
) -> ImportedNetwork:
    network = read_frozen(graph_def, name, size, normalisers)
    published = _published(graph_def, name, size, normalisers, network.found)
    if not check:
        return published if published and same_topology(published.graph, network.found.graph) else network.found
    try:
        return network.checked(published or network.found)
    except ValueError:
        if published is None:
            raise
        return network.checked(network.found)


def _published(
    graph_def: "tf.compat.v1.GraphDef",
    name: str,
    size: Shape | None,
    normalisers: Mapping[str, int | None] | None,
    found: ImportedNetwork,
) -> ImportedNetwork | None:
    """The same network with the nodes that the published importer makes; None where it makes other ones."""
    try:
        graph = from_graph_def(graph_def, name, size, normalisers)
    except ValueError:  # it has what no published network had
        return None
    if not any(node.operation.name == "output" for node in graph.nodes):  # it makes one of an identity only
        found = replace(found, graph=bypass(found.graph, [found.graph.output_index]))
    places = isomorphism(found.graph, graph, _kind)
    if places is None:
        return None
    ids = {node.str_id: graph.nodes[place].str_id for node, place in zip(found.graph.nodes, places, strict=True)}
    weights = {ids[one]: own for one, own in found.weights.items()}
    operands = {ids[one]: tuple(ids[source] for source in sources) for one, sources in found.operands.items()}
    return replace(found, graph=graph, weights=weights, operands=operands)


def _kind(node: Node) -> Hashable:
    """What two readers say alike of a node, whatever they make of borders."""
    size = None if node.operation.name == "paddings" else node.out_shape
    return node.operation.key, size, node.strides, getattr(node, "shape", None), node.use_bias
