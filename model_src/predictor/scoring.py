"""Scoring graphs and (P, S, C) triples with a trained predictor."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.families import entry_of
from model_src.predictor.checkpoint import Checkpoint, load_checkpoint
from model_src.predictor.data.packing import pack_graphs
from model_src.predictor.settings import with_map_size
from model_src.runtime import choose_device, one_thread

# Digits after the point that are kept. Sums in float64 vary with the batch from the 15th on, so what is kept does not.
DECIMALS = 9
MAX_NODES = 40_000  # encoded in one pass: enough to share most of the work, few enough for some ten megabytes
PART_NAMES = ("predecessor", "segment", "successor")


def load_predictor(path: str | Path, predictor_type: str, device: str | None = None) -> "Predictor":
    """Load a published checkpoint or one of ours for scoring.

    Args:
        path: The checkpoint.
        predictor_type: `GNN` or `PSC_predictor`.
        device: Such as `cpu` or `cuda:0`; a GPU if there is one.

    Raises:
        InputError: The type or the device is unknown, or the file is missing, damaged or of the other type.
    """
    return Predictor(load_checkpoint(path, predictor_type), choose_device(device))


class Predictor:
    """Scores in float64 and in input order; the embedding of a graph is remembered while the graph object lives.

    Attributes:
        predictor_type: `GNN` or `PSC_predictor`.
        target_normalisers: Family -> (mean, standard deviation) of accuracies as fractions, where the file says.
        device: Where it computes.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        self.predictor_type = checkpoint.predictor_type
        self.target_normalisers: Mapping[str, tuple[float, float]] = checkpoint.target_normalisers
        self._model = checkpoint.build().double().eval().to(device)
        self._map_size = checkpoint.config.get("map_size")
        self.device = device
        self._embeddings: WeakKeyDictionary[ComputeGraph, Tensor] = WeakKeyDictionary()

    def score_graphs(self, graphs: Sequence[ComputeGraph]) -> list[float]:
        """Predict the accuracy (a fraction) of whole networks with a GNN predictor.

        Raises:
            ValueError: The predictor is of the other type, or a graph has no nodes or something unknown in it.
        """
        self._check_type("GNN")
        for graph in graphs:
            if not graph.n_nodes:
                raise ValueError(f"{graph.name}: the graph has no nodes")
        return self._score(list(graphs))

    def score_psc(self, triples: Sequence[tuple[ComputeGraph, ComputeGraph, ComputeGraph]]) -> list[float]:
        """Predict the z-score of accuracy of networks given as predecessor, segment and successor.

        Args:
            triples: Parts as `graph_ops.part_of` cuts them.

        Raises:
            ValueError: The predictor is of the other type, or a part has no nodes or something unknown in it.
        """
        self._check_type("PSC_predictor")
        for number, triple in enumerate(triples):
            for name, part in zip(PART_NAMES, triple, strict=True):
                if not part.n_nodes:
                    raise ValueError(f"split {number} of {part.name}: the {name} has no nodes")
        return self._score([part for triple in triples for part in triple])

    def accuracy(self, score: float, family: str) -> float | None:
        """Turn a score into an accuracy (a fraction, 0 to 1) for networks of a family.

        Scores above or below any possible accuracy count as 1 or 0; None where the checkpoint cannot say.
        """
        scale = (0.0, 1.0) if self.predictor_type == "GNN" else entry_of(self.target_normalisers, family)
        return None if scale is None else min(max(scale[0] + scale[1] * score, 0.0), 1.0)

    def _check_type(self, needed: str) -> None:
        if self.predictor_type != needed:
            raise ValueError(f"a {self.predictor_type} predictor cannot score what {needed} does")

    @torch.inference_mode()
    @one_thread()
    def _score(self, graphs: list[ComputeGraph]) -> list[float]:
        if not graphs:
            return []
        unseen = dict.fromkeys(graph for graph in graphs if graph not in self._embeddings)
        for chunk in _chunks(unseen):
            pack = pack_graphs([with_map_size(graph, self._map_size) for graph in chunk])
            batch = self._model.batch(pack).to(self.device, torch.float64)
            self._embeddings.update(zip(chunk, self._model.embed(batch), strict=True))
        scores = self._model.head(torch.stack([self._embeddings[graph] for graph in graphs]))
        return [round(score, DECIMALS) for score in scores.tolist()]


def _chunks(graphs: Iterable[ComputeGraph]) -> Iterator[list[ComputeGraph]]:
    """Lists of graphs that together have at most MAX_NODES nodes, or one graph that has more."""
    chunk, n_nodes = [], 0
    for graph in graphs:
        if chunk and n_nodes + graph.n_nodes > MAX_NODES:
            yield chunk
            chunk, n_nodes = [], 0
        chunk.append(graph)
        n_nodes += graph.n_nodes
    if chunk:
        yield chunk
