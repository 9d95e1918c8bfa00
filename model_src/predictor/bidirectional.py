"""Graph layers whose messages run along the edges and against them, for predictors of whole networks."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.files import InputError
from model_src.predictor.data.folding import Step
from model_src.predictor.settings import ModelConfig


class _SparseProduct(torch.autograd.Function):
    """A sparse matrix times nodes, with the matrix's transpose at hand for the way back."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, matrix: Tensor, transposed: Tensor, nodes: Tensor) -> Tensor:
        ctx.transposed = transposed  # type: ignore[attr-defined]
        return torch.sparse.mm(matrix, nodes)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, torch.sparse.mm(ctx.transposed, gradients[0])  # type: ignore[attr-defined]


class BidirectionalConv(nn.Module):
    """x + activation(W [y, A y, A^T y] + b) with y = layer norm of x: a residual step that hears both neighbours."""

    def __init__(self, channels: int, activation: nn.Module):
        super().__init__()
        self.norm, self.activation = nn.LayerNorm(channels), activation
        self.lin = nn.Linear(3 * channels, channels)

    def forward(self, nodes: Tensor, adjacency: Tensor, transposed: Tensor) -> Tensor:
        """(n, channels) and twice (n, n) -> (n, channels)."""
        own = self.norm(nodes)
        heard = _SparseProduct.apply(adjacency, transposed, own)  # type: ignore[no-untyped-call]
        told = _SparseProduct.apply(transposed, adjacency, own)  # type: ignore[no-untyped-call]
        return nodes + self.activation(self.lin(torch.cat([own, heard, told], dim=1)))

    def folded(self, nodes: Tensor, step: Step) -> Tensor:
        """(n, channels), the rows of a layer -> (m, channels), those of the next one."""
        weights = torch.cat(self.lin.weight.split(nodes.shape[1], dim=1))
        views = functional.linear(self.norm(nodes), weights).view(3 * len(nodes), -1)
        return nodes.index_select(0, step.own) + self.activation(step.sums.of(views) + self.lin.bias)


class BidirectionalEncoder(nn.Module):
    """Residual layers in both directions; a node's encoding is its state and an activated linear view of it.

    A node sees all that is `num_layers` steps before or after it, where `GraphConv` sees what is before it.
    """

    def __init__(self, config: ModelConfig, activation: Callable[[], nn.Module]):
        """Make the layers.

        Raises:
            InputError: The encoding has no room for anything beside the state.
        """
        super().__init__()
        hidden, n_views = config.hidden_size, config.out_channels - config.hidden_size
        if n_views < 1:
            raise InputError(f"-out_channels {config.out_channels}: must be above -hidden_size, which is {hidden}")
        self.first = nn.Linear(config.in_channels, hidden)
        self.gnn_layers = nn.ModuleList(BidirectionalConv(hidden, activation()) for _ in range(config.num_layers))
        self.last, self.activation = nn.Linear(hidden, n_views), activation()
        self.dropout = nn.Dropout(config.dropout_prob)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """(n, in_channels) and (n, n) [target, source] -> (n, out_channels)."""
        transposed = adjacency.to_sparse_coo().t().to_sparse_csr()
        nodes = self.first(nodes)
        for layer in self.gnn_layers:
            nodes = layer(nodes, adjacency, transposed)
        return self._with_view(nodes)

    def folded(self, nodes: Tensor, steps: Sequence[Step]) -> Tensor:
        """(n, in_channels), the first layer's rows -> (m, out_channels), the last one's."""
        nodes = self.first(nodes)
        for layer, step in zip(self.gnn_layers, steps, strict=True):
            assert isinstance(layer, BidirectionalConv)
            nodes = layer.folded(nodes, step)
        return self._with_view(nodes)

    def _with_view(self, nodes: Tensor) -> Tensor:
        return self.dropout(torch.cat([nodes, self.activation(self.last(nodes))], dim=1))
