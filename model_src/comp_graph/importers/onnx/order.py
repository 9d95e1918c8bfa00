"""The order of a graph's operations: every one behind those that it reads, as ONNX wants it and not all writers do."""

from collections.abc import Iterator

import onnx
import rustworkx

_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def tensors_read(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that a node reads, those of the graphs inside it included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs) if attribute.type in _GRAPHS else ():
            own = {one for other in inner.node for one in other.output} | {value.name for value in inner.input}
            read = [one for other in inner.node for one in tensors_read(other)]
            yield from (one for one in [*read, *(value.name for value in inner.output)] if one not in own)


def put_in_order(graph: onnx.GraphProto) -> None:
    """Put operations behind those that they read; a graph in order stays as it is, and so does one with a cycle."""
    givers: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        for name in filter(None, node.output):
            givers.setdefault(name, place)
    sources = [{givers[one] for one in tensors_read(node) if one in givers} for node in graph.node]
    if all(max(read, default=-1) < place for place, read in enumerate(sources)):
        return
    edges = rustworkx.PyDiGraph()
    edges.add_nodes_from(range(len(sources)))
    edges.add_edges_from_no_data([(source, place) for place, read in enumerate(sources) for source in read])
    if rustworkx.is_directed_acyclic_graph(edges):
        nodes = [graph.node[place] for place in rustworkx.lexicographical_topological_sort(edges, key="{:012}".format)]
        graph.ClearField("node")
        graph.node.extend(nodes)


def obstacle(graph: onnx.GraphProto, image: str) -> tuple[int, str] | None:
    """The place of the first operation that reads what nothing before it gives, and why; None where there is none."""
    known = {"", image, *(tensor.name for tensor in graph.initializer)}
    known.update(tensor.values.name for tensor in graph.sparse_initializer)
    given = {name for node in graph.node for name in node.output}
    for place, node in enumerate(graph.node):
        if missing := [name for name in node.input if name not in known]:
            why = "the graph has a cycle" if missing[0] in given else "nothing gives that; the graph is incomplete"
            return place, f"it reads {missing[0]!r}: {why}"
        known.update(node.output)
    return None
