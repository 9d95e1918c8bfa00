"""Scoring graphs, (P, S, C) triples and whole networks with a trained predictor."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.families import entry_of
from model_src.predictor.checkpoint import Checkpoint, load_checkpoint
from model_src.predictor.data.batching import GraphBatch
from model_src.predictor.data.folding import FoldedBatch
from model_src.predictor.data.packing import SegmentedGraph, pack_graphs, pack_segmented
from model_src.predictor.models import AccuracyPredictor, merge_linear_layers
from model_src.predictor.settings import with_map_size
from model_src.runtime import choose_device, one_thread

# Digits after the point that are kept. Sums in float64 vary with the batch from the 15th on, so what is kept does not.
DECIMALS = 9
MAX_NODES = 40_000  # encoded in one pass: enough to share most of the work, few enough for some ten megabytes
MAX_SPLIT_NODES = 8_000  # of networks scored at all their splits in one pass: some hundred megabytes
PART_NAMES = ("predecessor", "segment", "successor")

T = TypeVar("T")


def load_predictor(path: str | Path, predictor_type: str | None = None, device: str | None = None) -> "Predictor":
    """Load a published checkpoint or one of ours for scoring.

    Args:
        path: The checkpoint.
        predictor_type: `GNN` or `PSC_predictor`; None takes what the file holds.
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
        with one_thread():
            merge_linear_layers(self._model)
        self._map_size = checkpoint.config.get("map_size")
        self.device = device
        self._embeddings: WeakKeyDictionary[ComputeGraph, Tensor] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another machine: the weights, for the CPU, and the kind of device."""
        kept = {name: value for name, value in vars(self).items() if name != "_embeddings"}
        return {**kept, "_model": deepcopy(self._model).cpu(), "device": self.device.type}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = choose_device(state["device"])
        vars(self).update(state, device=device, _model=state["_model"].to(device), _embeddings=WeakKeyDictionary())

    def score_graphs(self, graphs: Sequence[ComputeGraph]) -> list[float]:
        """Predict the accuracy (a fraction) of whole networks with a GNN predictor.

        Raises:
            ValueError: The predictor is of the other type, or a graph has no nodes or something unknown in it.
        """
        self._check_type("GNN")
        return self._score(list(_not_empty(graphs)))

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

    def score_networks(self, networks: Sequence[SegmentedGraph]) -> list[float]:
        """Score whole networks: a GNN's prediction, or the mean of PSC predictions over all splits of a network.

        The first node of a network always belongs to P and its last one to C; a segment that this leaves empty makes no
        split.

        Args:
            networks: Graphs and their segments, which only PSC looks at: lists of node indices, together all nodes in
                topological order.

        Raises:
            ValueError: There is something unknown in a graph, it has no nodes, or its segments do not fit it.
        """
        return [score for batch in network_batches(networks) for score in self.score_batch(batch)]

    @torch.inference_mode()
    @one_thread()
    def score_batch(self, networks: "NetworkBatch") -> list[float]:
        """Likewise, for networks that other predictors score, too."""
        batch, owner = networks.seen_by(self._model, self._map_size)
        scores = self._model(batch.to(self.device, torch.float64)).cpu().numpy()
        return (np.bincount(owner, scores) / np.bincount(owner)).round(DECIMALS).tolist()

    @torch.inference_mode()
    @one_thread()
    def embed_batch(self, networks: "NetworkBatch") -> np.ndarray:
        """(networks, width) what the head of the predictor sees of networks; of PSC the mean over all their splits."""
        batch, owner = networks.seen_by(self._model, self._map_size)
        parts = self._model.embed(batch.to(self.device, torch.float64)).cpu().numpy()
        rows = parts.reshape(len(owner), -1)
        sums = np.zeros((owner.max() + 1, rows.shape[1]))
        np.add.at(sums, owner, rows)
        return (sums / np.bincount(owner)[:, None]).round(DECIMALS)

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
        for chunk in _chunks(unseen, attrgetter("n_nodes"), MAX_NODES):
            pack = pack_graphs([with_map_size(graph, self._map_size) for graph in chunk])
            batch = self._model.batch(pack).to(self.device, torch.float64)
            self._embeddings.update(zip(chunk, self._model.embed(batch), strict=True))
        scores = self._model.head(torch.stack([self._embeddings[graph] for graph in graphs]))
        return [round(score, DECIMALS) for score in scores.tolist()]


class NetworkBatch:
    """Networks that several predictors score: what is the same for all of them is worked out once."""

    def __init__(self, networks: Sequence[SegmentedGraph]):
        """Take the networks as `Predictor.score_networks` does."""
        self._networks = networks
        self._seen: dict[Hashable, tuple[GraphBatch | FoldedBatch, np.ndarray]] = {}

    def seen_by(self, model: AccuracyPredictor, map_size: int | None) -> tuple[GraphBatch | FoldedBatch, np.ndarray]:
        """The batch for a predictor, and (items,) the network that each of its items belongs to.

        Raises:
            ValueError: See `Predictor.score_networks`.
        """
        hops = len(model.encoder.gnn_layers)
        key = model.n_parts, hops, map_size, model.folds, model.is_bidirectional
        if key not in self._seen:
            networks = [(with_map_size(graph, map_size), segments) for graph, segments in self._networks]
            if model.n_parts == 1:
                pack = pack_graphs(_not_empty([graph for graph, _ in networks]))
            else:
                pack = pack_segmented(networks, hops)
            self._seen[key] = model.batch(pack), pack.network
        return self._seen[key]


def network_batches(networks: Sequence[SegmentedGraph]) -> Iterator[NetworkBatch]:
    """Batches of networks that together have at most MAX_SPLIT_NODES nodes, or one network that has more."""
    for chunk in _chunks(networks, lambda network: network[0].n_nodes, MAX_SPLIT_NODES):
        yield NetworkBatch(chunk)


def _not_empty(graphs: Sequence[ComputeGraph]) -> Sequence[ComputeGraph]:
    for graph in graphs:
        if not graph.n_nodes:
            raise ValueError(f"{graph.name}: the graph has no nodes")
    return graphs


def _chunks(entries: Iterable[T], size: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Lists of entries whose sizes add up to at most the limit, or of one entry that is larger."""
    chunk: list[T] = []
    total = 0
    for entry in entries:
        if chunk and total + size(entry) > limit:
            yield chunk
            chunk, total = [], 0
        chunk.append(entry)
        total += size(entry)
    if chunk:
        yield chunk
