"""The GNN and PSC accuracy predictors (AutoGO, appendix A.2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.files import InputError
from model_src.predictor.bidirectional import BidirectionalConv, BidirectionalEncoder
from model_src.predictor.data.batching import FeatureTensors, GraphBatch, Pack
from model_src.predictor.data.folding import FoldedBatch, Step, fold
from model_src.predictor.settings import N_KERNEL_SIZES, N_LABELS, PREDICTOR_PARTS, ModelConfig

Entry = TypeVar("Entry")

BIDIRECTIONAL = "BidirectionalConv"  # a `gnn_type`, of predictors of whole networks only
SHAPE_SIZE, KERNEL_SIZE, BIAS_SIZE = 8, 4, 2  # of the embeddings; there are two kernel sides


class GraphConv(nn.Module):
    """W_1 x_i + b + W_2 times the sum of the x_j that send messages to i (Morris et al., 2019).

    It has the parameter names, the initial values and the results of PyG's layer, without its import of two seconds.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.lin_rel = nn.Linear(in_channels, out_channels)
        self.lin_root = nn.Linear(in_channels, out_channels, bias=False)
        for layer in (self.lin_rel, self.lin_root):  # drawn a second time there
            layer.reset_parameters()

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """(n, in_channels) and (n, n) [target, source] -> (n, out_channels)."""
        return self.lin_rel(torch.sparse.mm(adjacency, nodes)) + self.lin_root(nodes)

    def folded(self, nodes: Tensor, step: Step) -> Tensor:
        """(n, in_channels), the rows of a layer -> (m, out_channels), those of the next one."""
        both = functional.linear(nodes, torch.cat([self.lin_root.weight, self.lin_rel.weight]))
        return step.sums.of(both.view(2 * len(nodes), -1)) + self.lin_rel.bias


def _of_pyg(name: str) -> Callable[..., nn.Module]:
    def layer(*arguments: int | nn.Module) -> nn.Module:
        from model_src.predictor import pyg

        return getattr(pyg, name)(*arguments)

    return layer


def _gin(in_channels: int, out_channels: int) -> nn.Module:
    first, second = nn.Linear(in_channels, out_channels), nn.Linear(out_channels, out_channels)
    return _of_pyg("GINConv")(nn.Sequential(first, nn.ReLU(), second))


# Layers whose messages depend on nothing but a node's incoming edges, so that parts can share nodes (see `batching`).
# Layers that weigh a message by its source's number of outgoing edges, such as GCNConv, do not have this property.
GRAPH_LAYERS: dict[str, Callable[[int, int], nn.Module]] = {
    "GATConv": _of_pyg("GATConv"),
    "GATv2Conv": _of_pyg("GATv2Conv"),
    "GINConv": _gin,
    "GraphConv": GraphConv,
    "SAGEConv": _of_pyg("SAGEConv"),
    "TransformerConv": _of_pyg("TransformerConv"),
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
}


def resolve(flag: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Look a name up that the user gave.

    Raises:
        InputError: The table does not have it.
    """
    if name not in table:
        raise InputError(f"{flag} {name}: unknown; choose from {', '.join(table)}")
    return table[name]


class NodeEmbedding(nn.Module):
    """Embeds the features of nodes; the tables of weighted and of regular nodes differ."""

    def __init__(self, size: int):
        super().__init__()
        self.regular_embed_layer = nn.Embedding(N_LABELS, size - SHAPE_SIZE)
        self.weighted_embed_layer = nn.Embedding(N_LABELS, size - SHAPE_SIZE - 2 * KERNEL_SIZE - BIAS_SIZE)
        self.kernel_embed_layer = nn.Embedding(N_KERNEL_SIZES, KERNEL_SIZE)
        self.shape_embed_layer = nn.Linear(6, SHAPE_SIZE)
        self.bias_embed_layer = nn.Linear(2, BIAS_SIZE)

    def forward(self, features: FeatureTensors) -> Tensor:
        """(n, size) for n nodes, weighted ones first."""
        n_weighted = len(features.bias)
        shape = self.shape_embed_layer(features.resolution)
        kernel = self.kernel_embed_layer(features.kernel).flatten(1)
        bias = self.bias_embed_layer(functional.one_hot(features.bias, 2).to(shape.dtype))
        weighted = [self.weighted_embed_layer(features.op[:n_weighted]), shape[:n_weighted], kernel, bias]
        regular = [self.regular_embed_layer(features.op[n_weighted:]), shape[n_weighted:]]
        return torch.cat([torch.cat(weighted, dim=1), torch.cat(regular, dim=1)])


class GraphEncoder(nn.Module):
    """Graph layers, each followed by the activation; dropout at the end."""

    def __init__(self, config: ModelConfig, num_layers: int):
        super().__init__()
        layer = resolve("-gnn_type", config.gnn_type, GRAPH_LAYERS)
        sizes = [config.in_channels, *[config.hidden_size] * (num_layers - 1), config.out_channels]
        self.gnn_layers = nn.ModuleList(map(layer, sizes, sizes[1:]))
        self.activation = resolve("-gnn_activ", config.gnn_activ, ACTIVATIONS)()
        self.dropout = nn.Dropout(config.dropout_prob)
        self.init_ff = nn.Linear(2 * config.hidden_size, config.hidden_size)  # unused, in every published file

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """(n, in_channels) and (n, n) [target, source] -> (n, out_channels)."""
        for layer in self.gnn_layers:
            nodes = self.activation(layer(nodes, adjacency))
        return self.dropout(nodes)

    def folded(self, nodes: Tensor, steps: Sequence[Step]) -> Tensor:
        """(n, in_channels), the first layer's rows -> (m, out_channels), the last one's."""
        for layer, step in zip(self.gnn_layers, steps, strict=True):
            assert isinstance(layer, GraphConv)  # see `AccuracyPredictor.folds`
            nodes = self.activation(layer.folded(nodes, step))
        return self.dropout(nodes)


def _encoder(config: ModelConfig, n_parts: int) -> GraphEncoder | BidirectionalEncoder:
    resolve("-gnn_type", config.gnn_type, {**GRAPH_LAYERS, BIDIRECTIONAL: BidirectionalEncoder})
    if config.gnn_type != BIDIRECTIONAL:
        return GraphEncoder(config, config.num_layers)
    if n_parts > 1:
        raise InputError(f"-gnn_type {BIDIRECTIONAL}: only for predictors of whole networks, parts do not share nodes")
    return BidirectionalEncoder(config, resolve("-gnn_activ", config.gnn_activ, ACTIVATIONS))


class Aggregator(nn.Module):
    """Pools nodes to parts; its one-layer encoder is unused but in every published file."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        if config.gnn_type != BIDIRECTIONAL:
            self.gnn_aggr_layer = GraphEncoder(config, 1)

    def forward(self, nodes: Tensor, pooling: Tensor) -> Tensor:
        """(n, size) and (parts, n) -> (parts, size)."""
        return torch.sparse.mm(pooling, nodes)


class AccuracyPredictor(nn.Module):
    """Predicts a number from the embeddings of `n_parts` graphs, which share all weights.

    GNN (one part): an accuracy as a fraction. PSC (predecessor, segment, successor): a z-score of the accuracy.
    """

    def __init__(self, config: ModelConfig, n_parts: int):
        super().__init__()
        width = n_parts * config.out_channels
        self.n_parts = n_parts
        self.embed_layer = NodeEmbedding(config.in_channels)
        self.encoder = _encoder(config, n_parts)
        self.aggregator = Aggregator(config)
        self.post_proj = nn.Sequential(
            nn.Linear(width, width),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.Linear(width, width),
        )
        self.reg_activ = resolve("-reg_activ", config.reg_activ, ACTIVATIONS)() if config.reg_activ else nn.Identity()
        self.regressor = nn.Linear(width, 1)
        self._output_mean, self._output_deviation = config.output_mean, config.output_deviation

    def batch(self, pack: Pack, items: np.ndarray | slice = slice(None)) -> GraphBatch | FoldedBatch:
        """The batch of the given items in the form that this predictor encodes fastest."""
        if not self.folds:
            return pack.batch(items)
        return fold(pack, len(self.encoder.gnn_layers), items, self.is_bidirectional)

    @property
    def is_bidirectional(self) -> bool:
        """Whether messages go along the edges and against them."""
        return isinstance(self.encoder, BidirectionalEncoder)

    @property
    def folds(self) -> bool:
        """Whether equal nodes may share a row: not with dropout, which makes them differ, or layers of other kinds."""
        if not all(isinstance(layer, GraphConv | BidirectionalConv) for layer in self.encoder.gnn_layers):
            return False
        return not (self.training and self.encoder.dropout.p > 0)

    def embed(self, batch: GraphBatch | FoldedBatch) -> Tensor:
        """(parts, out_channels), the embedding of every part of a batch."""
        nodes = self.embed_layer(batch.features).index_select(0, batch.rows)
        if isinstance(batch, FoldedBatch):
            return batch.pooling.of(self.encoder.folded(nodes, batch.steps))
        return self.aggregator(self.encoder(nodes, batch.adjacency), batch.pooling)

    def head(self, embeddings: Tensor) -> Tensor:
        """(items * n_parts, out_channels) -> (items,) predictions."""
        items = embeddings.reshape(-1, self.regressor.in_features)
        outputs = self.regressor(self.reg_activ(self.post_proj(items))).squeeze(-1)
        return self._output_mean + self._output_deviation * outputs

    def forward(self, batch: GraphBatch | FoldedBatch) -> Tensor:
        """(items,) predictions; a batch holds the parts of an item one after the other."""
        return self.head(self.embed(batch))


def merge_linear_layers(model: AccuracyPredictor) -> None:
    """Put one linear layer in the place of those that follow each other in the head, which computes the same."""
    first, second, relu, third, fourth = model.post_proj
    layers, last = [_product(first, second), relu], _product(third, fourth)
    if isinstance(model.reg_activ, nn.Identity):
        model.regressor = _product(last, model.regressor)
    else:
        layers.append(last)
    model.post_proj = nn.Sequential(*layers)


@torch.no_grad()
def _product(first: nn.Module, second: nn.Module) -> nn.Linear:
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    merged = nn.Linear(first.in_features, second.out_features, dtype=first.weight.dtype, device="meta")
    merged.weight = nn.Parameter(second.weight @ first.weight)
    merged.bias = nn.Parameter(second.weight @ first.bias + second.bias)
    return merged


def build_model(predictor_type: str, config: ModelConfig) -> AccuracyPredictor:
    """Make a predictor with fresh weights.

    Args:
        predictor_type: `GNN` or `PSC_predictor`.
        config: Its architecture.

    Raises:
        InputError: A type, layer or activation is unknown, or they or the sizes do not go together.
    """
    n_parts = resolve("predictor type", predictor_type, PREDICTOR_PARTS)
    least = SHAPE_SIZE + 2 * KERNEL_SIZE + BIAS_SIZE + 1
    if config.in_channels < least:
        raise InputError(f"-in_channels {config.in_channels}: node embeddings need at least {least}")
    return AccuracyPredictor(config, n_parts)


def current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a checkpoint under the parameter names of current PyG.

    GraphConv once called its two linear layers `lin_l` and `lin_r`; what a FLOPs profiler left behind is dropped.
    """
    return {
        name.replace(".lin_l.", ".lin_rel.").replace(".lin_r.", ".lin_root."): values
        for name, values in state.items()
        if "total_ops" not in name and "total_params" not in name
    }
