"""A trained PSC predictor as a teacher: its estimates stand in for accuracies that nobody has measured."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segmentation import segment
from model_src.encoder.tokenizer import Tokenizer
from model_src.families import entry_of
from model_src.kept import NOTHING_KEPT, Kept
from model_src.predictor.data.packing import SegmentedGraph
from model_src.predictor.scoring import load_predictor
from model_src.search_space.sampling import Drawn

# Mean and deviation of accuracy (fractions) that turn a z-score into an accuracy where the checkpoint does not say.
# Nominal: only the order and the spacing of such accuracies mean anything, and targets are standardised by family.
NOMINAL_SCALE = (0.9, 0.01)
DECIMALS = 6
NETWORKS_PER_LESSON = 32  # estimated at once


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
        self._predictor = load_predictor(path, "PSC_predictor")
        self.scale = entry_of(self._predictor.target_normalisers, family) or NOMINAL_SCALE

    def accuracies(self, networks: Sequence[SegmentedGraph]) -> list[float]:
        """Fractions with six decimals, of the scores of networks and `scale`; see `Predictor.score_networks`."""
        mean, deviation = self.scale
        estimates = np.clip(mean + deviation * np.array(self._predictor.score_networks(networks)), 0, 1)
        return [round(float(estimate), DECIMALS) for estimate in estimates]


def estimated(
    drawn: Iterable[Drawn],
    family: str,
    checkpoint: Path,
    encoder_path: Path,
    tokenizer_path: Path,
    estimates: Kept = NOTHING_KEPT,
) -> Iterator[Drawn]:
    """Networks of a family with a teacher's estimates.

    Args:
        drawn: The networks.
        family: What they are of.
        checkpoint: The teacher.
        encoder_path: Encoder of the vocabulary that networks are cut with.
        tokenizer_path: Its SentencePiece model.
        estimates: Where they are kept.

    Raises:
        InputError: A file is missing, damaged or of another kind.
    """
    encoder, tokenizer = NetworkEncoder.load(encoder_path), Tokenizer.load(tokenizer_path)
    teacher, waiting = Teacher(checkpoint, family), iter(drawn)

    def lesson(graphs: Sequence[ComputeGraph]) -> list[float]:
        return teacher.accuracies([(graph, segment(graph, encoder, tokenizer)) for graph in graphs])

    while networks := list(islice(waiting, NETWORKS_PER_LESSON)):
        found = estimates.get(partial(lesson, [network.graph for network in networks]))
        for network, estimate in zip(networks, found, strict=True):
            yield network._replace(accuracy=estimate)
