"""The graph layers of PyTorch Geometric, imported without its noise."""

import warnings

import torch

with warnings.catch_warnings():
    # PyG still scripts a few classes, and PyTorch says once per process that its CSR matrices are young and unchecked;
    # the first such matrix is made here.
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GATConv, GATv2Conv, GINConv, GraphConv, SAGEConv, TransformerConv

    torch.sparse_csr_tensor([0, 1], [0], [1.0])

__all__ = ["GATConv", "GATv2Conv", "GINConv", "GraphConv", "SAGEConv", "TransformerConv"]
