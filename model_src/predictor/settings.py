"""Sizes of the predictors and settings of their training; needs no PyTorch, so that scripts answer at once."""

from dataclasses import dataclass

from model_src.comp_graph.tf_comp_graph import ComputeGraph

N_LABELS = 32  # the operation vocabulary
N_KERNEL_SIZES = 8  # 0 to 7 pixels

# Predictor type -> number of graphs that make one input: a whole network, or predecessor, segment and successor.
PREDICTOR_PARTS = {"GNN": 1, "PSC_predictor": 3}


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a predictor; the defaults are the published ones.

    Attributes:
        in_channels: Size of a node's embedding.
        hidden_size: Size between two graph layers.
        out_channels: Size of a node's encoding, hence of a graph's embedding.
        num_layers: Graph layers.
        dropout_prob: Dropout after the last graph layer.
        gnn_type: Class of the graph layers.
        gnn_activ: Activation after every graph layer.
        reg_activ: Activation before the regressor, none by default.
        map_size: Normaliser of the map sizes in pixels; None takes each graph's own.
    """

    in_channels: int = 32
    hidden_size: int = 32
    out_channels: int = 32
    num_layers: int = 6
    dropout_prob: float = 0.0
    gnn_type: str = "GraphConv"
    gnn_activ: str = "tanh"
    reg_activ: str | None = None
    map_size: int | None = None


def with_map_size(graph: ComputeGraph, map_size: int | None) -> ComputeGraph:
    """The graph under another normaliser of its map sizes; unchanged for None."""
    if map_size is None:
        return graph
    return graph.with_normalisers({**graph.normalisers, "max_derived_H": map_size, "max_derived_W": map_size})
