"""The graph layers of PyTorch Geometric, imported without its noise; that takes two seconds."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyG still scripts a few classes
    from torch_geometric.nn import GATConv, GATv2Conv, GINConv, SAGEConv, TransformerConv

__all__ = ["GATConv", "GATv2Conv", "GINConv", "SAGEConv", "TransformerConv"]
