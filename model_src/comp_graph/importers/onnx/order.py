"""The order of a graph's operations: every one behind those that it reads, as ONNX wants it and not all writers do."""

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush

import onnx

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
    order = _order(dict(enumerate(sources)))
    if len(order) == len(sources):
        nodes = [graph.node[place] for place in order]
        graph.ClearField("node")
        graph.node.extend(nodes)


def _order(sources: Mapping[int, set[int]]) -> list[int]:
    """Places, each behind its sources and otherwise as before; without those that a cycle keeps from coming."""
    readers: dict[int, list[int]] = {}
    for place, read in sources.items():
        for source in read:
            readers.setdefault(source, []).append(place)
    lacking = {place: len(read) for place, read in sources.items()}
    free, order = [place for place, number in lacking.items() if not number], list[int]()
    heapify(free)
    while free:
        order.append(heappop(free))
        for reader in readers.get(order[-1], ()):
            lacking[reader] -= 1
            if not lacking[reader]:
                heappush(free, reader)
    return order


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
