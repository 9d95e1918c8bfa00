"""Reads the published segment database, a pickled pandas table of networkx graphs, without pandas or networkx.

Every class that such a file names is replaced by one that only keeps what it is given, so nothing of the libraries'
own unpickling code runs and any pandas from 1.3 on may have written the file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

from model_src.comp_graph.segment import Segment, segment_from_subgraph
from model_src.comp_graph.tf_comp_graph import ComputeGraph

_FRAME = "DataFrame"
_PANDAS_NAMES = {
    "pandas": (_FRAME, "Index", "RangeIndex", "StringDtype"),
    "pandas.arrays": ("StringArray",),
    "pandas.core.arrays.string_": ("StringArray", "StringDtype"),
    "pandas.core.frame": (_FRAME,),
    "pandas.core.indexes.base": ("Index", "_new_Index"),
    "pandas.core.indexes.numeric": ("Int64Index",),
    "pandas.core.indexes.range": ("RangeIndex",),
    "pandas.core.internals.managers": ("BlockManager",),
    "pandas._libs.arrays": ("__pyx_unpickle_NDArrayBacked",),
    "pandas._libs.internals": ("_unpickle_block",),
}
_NUMPY_NAMES = {
    "numpy": ("dtype", "ndarray"),
    **{
        f"numpy.{core}.{module}": (name,)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("numeric", "_frombuffer"))
    },
}
_NETWORKX_NAMES = {
    "networkx.classes.digraph": ("DiGraph",),
    "networkx.classes.coreviews": ("AdjacencyView",),
    "networkx.classes.reportviews": tuple(
        f"{kind}View" for kind in ("Node", "OutEdge", "InEdge", "DiDegree", "OutDegree", "InDegree")
    ),
}
_GRAPH_NAMES = {"model_src.comp_graph.tf_comp_graph": ("RegularNode", "WeightedNode")}


class _Inert:
    """Stands for a foreign class or function: keeps arguments and state, does nothing."""

    args: tuple[Any, ...]

    def __new__(cls, *args: Any) -> Self:
        self = object.__new__(cls)
        self.args, self.state = args, None
        return self

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


def stand_ins() -> dict[tuple[str, str], type]:
    """(module, name) as a published database writes it -> a class that stands for it.

    The classes are made anew in every call, so that no file can leave anything on them for the next one.
    """
    tables = (_PANDAS_NAMES, _NUMPY_NAMES, _NETWORKX_NAMES, _GRAPH_NAMES)
    pairs = [(module, name) for table in tables for module, names in table.items() for name in names]
    plain = {("builtins", "dict"): dict}  # networkx before 2.6 stores it in every graph
    return {**plain, **{(module, name): type(name, (_Inert,), {}) for module, name in pairs}}


def read_table(content: Any) -> list[Segment]:
    """The segments of a database that was unpickled with `stand_ins`, in table order.

    Raises:
        ValueError: It is not such a database.
    """
    try:
        columns = dict(_columns(content.state["_mgr"]))
        rows = list(zip(columns["seg_str"], columns["subgraph"], strict=True))
        if len({id(subgraph) for _, subgraph in rows}) < len(rows):
            raise ValueError("the same segment over and over")
        return [_segment(text, subgraph.state) for text, subgraph in rows]
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a segment database ({type(error).__name__}: {error})") from error


def _columns(manager: _Inert) -> Iterator[tuple[str, list[Any]]]:
    """Name and values of every column that does not hold numbers."""
    blocks, axes = manager.args
    _, index_fields = axes[0].args
    names = _items(index_fields["data"])
    for block in blocks:
        values, placement, _ = block.args
        items = _items(values)
        if isinstance(items, list):
            places = range(len(names))[placement] if isinstance(placement, slice) else _integers(placement)
            height = len(items) // len(places)
            for row, place in enumerate(places):
                yield names[place], items[row * height : (row + 1) * height]


def _items(array: _Inert) -> Any:
    """Content of a numpy array, flat: a list of objects, or the bytes of numbers."""
    if type(array).__name__ == "__pyx_unpickle_NDArrayBacked":
        state = array.state or array.args[2]
        return _items(next(part for part in state if isinstance(part, _Inert) and type(part).__name__ != "StringDtype"))
    return array.args[0] if array.state is None else array.state[-1]


def _integers(array: _Inert) -> list[int]:
    data = _items(array)
    return [int.from_bytes(data[start : start + 8], "little") for start in range(0, len(data), 8)]


def _segment(text: str, fields: Mapping[str, Any]) -> Segment:
    """The segment of a networkx graph's attribute dictionary, ports in the order of its nodes."""
    nodes, adjacency = fields["_node"], fields["_adj"]
    order = sorted(nodes, key=lambda node_id: not nodes[node_id]["type_idx"])
    index = {node_id: position for position, node_id in enumerate(order)}
    with_source = {target for targets in adjacency.values() for target in targets}
    starts = [node_id for node_id in nodes if node_id not in with_source]
    graph = ComputeGraph.from_state_dict(
        {
            **fields["graph"],
            "input_shape": [(1, *nodes[node_id]["resolution"][0::2]) for node_id in starts],
            "edge_pairs": [(index[source], index[target]) for source in adjacency for target in adjacency[source]],
            "weighted_nodes": [_named(node_id, nodes) for node_id in order if nodes[node_id]["type_idx"]],
            "regular_nodes": [_named(node_id, nodes) for node_id in order if not nodes[node_id]["type_idx"]],
        }
    )
    segment = segment_from_subgraph(graph, text)
    # The table's order of the ports decides the order of the groups of segments of the same shapes.
    rank = {index[node_id]: place for place, node_id in enumerate(nodes)}
    readers = sorted(segment.inputs, key=lambda port: rank[port[0]])
    return replace(
        segment,
        inputs=tuple(readers),
        input_shapes=tuple(graph.nodes[port[0]].in_shape for port in readers),
        outputs=tuple(sorted(segment.outputs, key=rank.__getitem__)),
    )


def _named(node_id: Any, nodes: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    return {**nodes[node_id], "str_id": str(node_id)}
