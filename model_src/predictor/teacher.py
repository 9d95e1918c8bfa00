"""A trained PSC predictor as a teacher: its estimates stand in for accuracies that nobody has measured."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segmentation import segment_with_text
from model_src.encoder.tokenizer import Tokenizer
from model_src.families import entry_of
from model_src.predictor.checkpoint import load_checkpoint
from model_src.predictor.data.examples import split_examples
from model_src.predictor.data.psc_cache import build_cache, sample_splits
from model_src.predictor.settings import ModelConfig
from model_src.predictor.training.loop import predict
from model_src.runtime import one_thread
from model_src.search_space.sampling import Drawn

# Mean and deviation of accuracy (fractions) that turn a z-score into an accuracy where the checkpoint does not say.
# Nominal: only the order and the spacing of such accuracies mean anything, and targets are standardised by family.
NOMINAL_SCALE = (0.9, 0.01)
DECIMALS = 6
NETWORKS_PER_LESSON = 32  # estimated at once

SegmentedGraph = tuple[ComputeGraph, list[tuple[str, list[int]]]]


class Teacher:
    """Estimates the accuracy of networks as the mean of the PSC predictions over all their splits.

    Attributes:
        scale: Mean and deviation of the family's accuracies (fractions), of the checkpoint or nominal.
    """

    def __init__(self, path: str | Path, family: str):
        """Load a published checkpoint or one of ours.

        Args:
            path: The checkpoint of a PSC predictor.
            family: What the networks are of; decides on `scale`.

        Raises:
            InputError: The file is missing, damaged or of another kind.
        """
        checkpoint = load_checkpoint(path, "PSC_predictor")
        config = ModelConfig(**checkpoint.config)
        self.scale = entry_of(checkpoint.target_normalisers, family) or NOMINAL_SCALE
        self._family, self._hops, self._map_size = family, config.num_layers, config.map_size
        self._model = checkpoint.build()

    @one_thread()
    def scores(self, networks: Sequence[SegmentedGraph]) -> np.ndarray:
        """(networks,) mean z-score over the splits of every network; a split without a segment of its own is left out.

        Args:
            networks: Graph and segments: text, one character per node, and node indices; together the segments are all
                nodes in topological order.

        Raises:
            ValueError: A node is something that predictors do not know.
        """
        cache = build_cache(self._family, ((graph, 0.0, segments) for graph, segments in networks))
        every_split = sample_splits(cache, "all", np.random.default_rng(0))
        pack = split_examples([every_split], self._hops, self._map_size).pack
        predictions = predict(self._model, pack, np.arange(len(pack.network)))
        return np.bincount(pack.network, predictions) / np.bincount(pack.network)

    def accuracies(self, networks: Sequence[SegmentedGraph]) -> list[float]:
        """Fractions with six decimals, of `scores` and `scale`; for the arguments see `scores`."""
        mean, deviation = self.scale
        estimates = np.clip(mean + deviation * self.scores(networks), 0, 1)
        return [round(float(estimate), DECIMALS) for estimate in estimates]


def estimated(
    drawn: Iterable[Drawn], family: str, checkpoint: Path, encoder_path: Path, tokenizer_path: Path
) -> Iterator[Drawn]:
    """Networks of a family with a teacher's estimates.

    Args:
        drawn: The networks.
        family: What they are of.
        checkpoint: The teacher.
        encoder_path: Encoder of the vocabulary that networks are cut with.
        tokenizer_path: Its SentencePiece model.

    Raises:
        InputError: A file is missing, damaged or of another kind.
    """
    encoder, tokenizer = NetworkEncoder.load(encoder_path), Tokenizer.load(tokenizer_path)
    teacher, waiting = Teacher(checkpoint, family), iter(drawn)
    while networks := list(islice(waiting, NETWORKS_PER_LESSON)):
        graphs = [network.graph for network in networks]
        estimates = teacher.accuracies([(graph, segment_with_text(graph, encoder, tokenizer)) for graph in graphs])
        for network, estimate in zip(networks, estimates, strict=True):
            yield network._replace(accuracy=estimate)
