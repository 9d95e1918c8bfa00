"""Frozen TensorFlow graph -> computation graph, as published: without weights, and without looking at all operations.

Only what the input flows through becomes a node; weights are read where they enter an operation. Operations are
recognised by their TensorFlow type; a name that says the same in another way (`add_3`, `concat`) stays the label.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import bypass, prune_merges
from model_src.comp_graph.importers.options import completed_normalisers, given_size
from model_src.comp_graph.importers.tensorflow.flow import DataFlow
from model_src.comp_graph.importers.tensorflow.operations import READERS
from model_src.comp_graph.importers.tensorflow.recognition import Recognition
from model_src.comp_graph.ops import OPERATIONS, Kind
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, Shape, node_from_state
from model_src.files import naming, read_bytes
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


def load_pb(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
) -> ComputeGraph:
    """Read a frozen GraphDef; the graph is named after the file.

    Args:
        path: The file.
        input_h: Input height in pixels; with width and channels it replaces what the file says.
        input_w: Input width in pixels.
        input_c: Input channels.
        normalisers: Feature normalisers by name; a missing one is derived from the graph, None derives all.

    Raises:
        InputError: The file is missing, is no GraphDef, or its graph cannot be read for that input.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    with naming(path):
        return from_graph_def(parse(read_bytes(path)), path.stem, size, normalisers)


def parse(content: bytes) -> "tf.compat.v1.GraphDef":
    """The GraphDef in the content of a file.

    Raises:
        ValueError: There is none.
    """
    tf = import_tensorflow()
    from google.protobuf.message import DecodeError

    graph_def = tf.compat.v1.GraphDef()
    try:
        graph_def.ParseFromString(content)
    except DecodeError as error:
        raise ValueError("not a frozen TensorFlow graph (GraphDef)") from error
    if not graph_def.node:
        raise ValueError("not a frozen TensorFlow graph (GraphDef), or one without nodes")
    return graph_def


def from_graph_def(
    graph_def: "tf.compat.v1.GraphDef",
    name: str,
    input_shape: Shape | None = None,
    normalisers: Mapping[str, int | None] | None = None,
) -> ComputeGraph:
    """Build the graph of a frozen GraphDef.

    Its input is its only image placeholder, or a node named `input`.

    Args:
        graph_def: Operations in any order.
        name: Architecture name.
        input_shape: (H, W, C); None takes what the input node declares.
        normalisers: As for `load_pb`.

    Raises:
        ValueError: There is not one input and one output, a size is unknown, or an operation cannot be represented.
    """
    flow = DataFlow(graph_def, input_shape)
    found = Recognition(flow)
    nodes = {op: _node(flow, found, op) for op in flow.ops}
    index = {op: position for position, op in enumerate(nodes)}
    edges = [(index[source], index[op]) for op in flow.ops for source in flow.sources[op]]
    all_nodes = list(nodes.values())
    edges += _repeated_inputs(flow, found, index, all_nodes)
    graph = ComputeGraph.from_nodes(name, (1, *flow.input_shape), all_nodes, edges)
    dropped = {flow.str_id(op) for op in flow.ops if found.operations[op] is None}
    graph = bypass(graph, [i for i, node in enumerate(graph.nodes) if node.str_id in dropped])
    graph = prune_merges(graph, fewest=0)
    _ = graph.input_index, graph.output_index  # raises unless there is one of each
    return graph.with_normalisers(completed_normalisers(graph, normalisers))


def _node(flow: DataFlow, found: Recognition, op: "tf.Operation") -> Node:
    operation = found.operations[op]
    if operation is None:  # will be bypassed
        return node_from_state(
            {"str_id": flow.str_id(op), "label": "", "op_type_idx": 0, "resolution": (0,) * 6, "strides": None}, False
        )
    before, after = flow.resolution(op)
    fields = READERS[op.type](op, flow.constants(op)) if op.type in READERS else READERS[operation.name](op, ())
    if op in found.biased:
        fields["metadata"]["use_bias"] = True
    state = {
        "str_id": flow.str_id(op),
        "label": found.label(op, operation),
        "op_type_idx": operation.index,
        "resolution": tuple(size for pair in zip(before, after, strict=True) for size in pair),
        **fields,
        "metadata": fields["metadata"] or None,
    }
    return node_from_state(state, operation.kind is Kind.WEIGHTED)


def _repeated_inputs(
    flow: DataFlow, found: Recognition, index: Mapping["tf.Operation", int], nodes: list[Node]
) -> list[tuple[int, int]]:
    """An identity node for every repeat of an operand (x + x), since a graph has at most one edge between two nodes."""
    edges, identity = [], OPERATIONS["identity"]
    for op in flow.ops:
        operation, sources = found.operations[op], flow.sources[op]
        if operation is None or not operation.is_merge:
            continue
        repeats = [source for place, source in enumerate(sources) if source in sources[:place]]
        for number, source in enumerate(repeats):
            sizes = flow.resolution(source)[1]
            state = {
                "str_id": f"{flow.str_id(op)}/repeat_{number}",
                "label": identity.label,
                "op_type_idx": identity.index,
                "resolution": tuple(size for size in sizes for _ in range(2)),
                "strides": None,
            }
            edges += [(index[source], len(nodes)), (len(nodes), index[op])]
            nodes.append(node_from_state(state, False))
    return edges
