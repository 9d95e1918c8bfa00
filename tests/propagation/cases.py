"""Segments for the tests: literal ones, random ones, and those of the reference."""

import json
from pathlib import Path

import networkx as nx
import numpy as np

from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph, RegularNode, WeightedNode, node_from_state

WINDOWS = ("conv2d", "avgpool", "maxpool", "depthwise")
OP_INDEX = OP2I().build_from_file()


def make_node(str_id, op, h, c, c_out=None, stride=1, w=None, **metadata):
    """A node on an h x w map; `c_out` is for convolutions and concats."""
    w = w or h
    resolution = (h, -(-h // stride), w, -(-w // stride), c, c_out or c)
    fields = {"str_id": str(str_id), "label": op, "op_type_idx": OP_INDEX[op], "resolution": resolution}
    if op in WINDOWS:
        fields |= {"strides": (1, stride, stride, 1), "metadata": {"padding": "same", **metadata}}
    if op in ("conv2d", "depthwise", "matmul"):
        return WeightedNode(**fields, shape=(c, 1 if op == "depthwise" else c_out or c, 3, 3))
    return RegularNode(**fields)


def make_segment(nodes, edges=(), inputs=None, outputs=None, input_shapes=None) -> Segment:
    """A segment of nodes and edges named by str_id; ports default to the nodes without inner neighbours."""
    place = {node.str_id: index for index, node in enumerate(nodes)}
    graph = ComputeGraph.from_nodes("literal", (), nodes, [(place[a], place[b]) for a, b in map(str.split, edges)])
    index = {node.str_id: position for position, node in enumerate(graph.nodes)}
    if inputs is None:
        inputs = [node.str_id for node, sources in zip(graph.nodes, graph.predecessors, strict=True) if not sources]
    if outputs is None:
        outputs = [node.str_id for node, readers in zip(graph.nodes, graph.successors, strict=True) if not readers]
    readers = tuple(tuple(index[name] for name in names.split()) for names in inputs)
    return Segment(
        graph,
        readers,
        tuple(input_shapes or (graph.nodes[indices[0]].in_shape for indices in readers)),
        tuple(index[name] for name in outputs),
        "text",
    )


def by_id(graph: ComputeGraph) -> dict:
    return {node.str_id: node for node in graph.nodes}


def reference_cases(folder: Path) -> list[dict]:
    with (folder / "milp" / "cases.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def state_to_nx(state: dict) -> nx.DiGraph:
    graph = nx.DiGraph()
    for node in state["nodes"]:
        graph.add_node(node["id"], **{key: value for key, value in node.items() if key != "id"})
    graph.add_edges_from(state["edges"])
    return graph


def required_of(case: dict) -> dict[int, tuple[int, int, int]]:
    return {int(node_id): tuple(shape) for node_id, shape in case["outputs"].items()}


def case_to_segment(case: dict) -> tuple[Segment, tuple, tuple]:
    """A reference case as a segment, the shapes of its inputs and those required of its outputs."""
    nodes = []
    for state in case["segment"]["nodes"]:
        c_in, c_out = state["resolution"][4:]
        fields = {
            "str_id": str(state["id"]),
            "label": state["op_name"],
            "op_type_idx": OP_INDEX[state["op_name"]],
            "resolution": state["resolution"],
            "strides": state["strides"],
            "metadata": {"padding": state["padding"]} if state["padding"] else None,
            "shape": (c_in, c_out, *(state["kernel"] or ())),
        }
        nodes.append(node_from_state(fields, weighted=state["kernel"] is not None))
    edges = [f"{source} {target}" for source, target in case["segment"]["edges"]]
    segment = make_segment(nodes, edges, list(case["inputs"]), list(case["outputs"]))
    return segment, *(tuple(map(tuple, case[key].values())) for key in ("inputs", "outputs"))


def random_problem(rng: np.random.Generator, most: int = 9) -> tuple[Segment, tuple, tuple]:
    """A random segment that is consistent by itself, input shapes for it, and output shapes that it may reach."""
    tensors = [("", tuple(int(s) for s in _random_shape(rng))) for _ in range(rng.integers(1, 4))]
    n_inputs, nodes, edges, readers = len(tensors), [], [], [[] for _ in tensors]
    for number in range(int(rng.integers(n_inputs, most + 1))):
        first = number if number < n_inputs else int(rng.integers(len(tensors)))  # every input is read
        op = rng.choice(["conv2d", "conv2d", "relu", "fusedbatchnorm", "avgpool", "depthwise", "add", "concat"])
        operands = _operands(rng, op, tensors, first)
        h, w, c = tensors[first][1]
        stride = int(rng.choice([1, 1, 1, 2])) if op in WINDOWS and min(h, w) > 3 else 1
        c_out = int(rng.choice([8, 16, 32])) if op == "conv2d" else c
        if op == "concat":
            c_out = sum(tensors[operand][1][2] for operand in operands)
        name = f"n{number}"
        nodes.append(make_node(name, str(op), h, c, c_out, stride, w))
        for operand in operands:
            if operand < n_inputs:
                readers[operand].append(name)
            else:
                edges.append(f"{tensors[operand][0]} {name}")
        tensors.append((name, nodes[-1].out_shape))
    read = {edge.split()[0] for edge in edges}
    outputs = [node.str_id for node in nodes if node.str_id not in read or rng.random() < 0.1]
    shapes = [shape for _, shape in tensors[:n_inputs]]
    segment = make_segment(nodes, edges, [" ".join(names) for names in readers], outputs, shapes)
    return segment, _varied(rng, shapes), _varied(rng, segment.output_shapes)


def _random_shape(rng):
    h = rng.choice([4, 7, 8, 16])
    return h, h if rng.random() < 0.8 else rng.choice([4, 8]), rng.choice([8, 16])


def _operands(rng, op, tensors, first):
    """Positions of the tensors that a new node reads: a merge reads up to three that fit."""
    if op not in ("add", "concat"):
        return [first]
    alike = 3 if op == "add" else 2
    fitting = [
        position
        for position, (_, shape) in enumerate(tensors)
        if position != first and shape[:alike] == tensors[first][1][:alike]
    ]
    rng.shuffle(fitting)
    return [first, *fitting[:2]]


def _varied(rng, shapes):
    """The shapes as they are, or all with maps and channels scaled alike."""
    h_scale, c_scale = rng.choice([0.5, 1, 2], 2) if rng.random() < 0.5 else (1, 1)
    return tuple((max(1, int(h * h_scale)), max(1, int(w * h_scale)), max(1, int(c * c_scale))) for h, w, c in shapes)
