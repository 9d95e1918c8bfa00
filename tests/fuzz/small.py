"""Small networks that files are made of."""

import json
from pathlib import Path
from typing import Any

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search_space.graph_builder import GraphBuilder


def small(activation: str = "relu") -> ComputeGraph:
    """Two convolutions side by side, their sum and both in one map, a dense layer."""
    builder = GraphBuilder("small", (1, 8, 6, 3))
    image = builder.input()
    left, right = builder.conv(image, 5, 3, 2, bias=True), builder.conv(image, 5, 1, 2)
    both = builder.concat(builder.add(left, getattr(builder, activation)(builder.batchnorm(right))), right)
    return builder.classifier(builder.maxpool(both, 2), dropout=True, n_classes=4)


def with_new_operations() -> ComputeGraph:
    """A network of operations that published files do not have."""
    state = json.loads(Path(__file__).with_name("new_operations.json").read_text(encoding="utf-8"))
    return ComputeGraph.from_state_dict(state)


def state_of(graph: ComputeGraph) -> dict[str, Any]:
    """Weights of a network by name."""
    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network

    return {name: value.numpy() for name, value in build_torch_network(graph, 0).state_dict().items()}
