"""Several predictors as one: a mean, and a deviation that says how far they agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_src.encoder.known_pieces import KnownPieces
from model_src.families import entry_of
from model_src.files import InputError
from model_src.predictor.calibration import Calibration
from model_src.predictor.checkpoint import ALL_FAMILIES
from model_src.predictor.data.packing import SegmentedGraph
from model_src.predictor.scoring import Predictor, load_predictor, network_batches

Scale = tuple[float, float]  # mean and deviation of accuracies, as fractions
UNSCALED: Scale = (0.0, 1.0)


def load_ensemble(paths: str | Path | Sequence[str | Path], device: str | None = None) -> "Ensemble":
    """Load checkpoints of any kind as one predictor.

    A folder stands for all its `.pt` files by name. If it is given alone, its `ensemble.json` says how far the members'
    deviation is from the error of their mean, and its `known_pieces.txt` what they learnt from; neither must be there.

    Args:
        paths: Files or folders, or one of them.
        device: Such as `cpu` or `cuda:0`; a GPU if there is one.

    Raises:
        InputError: A path is missing, a folder has no checkpoint, or a file cannot be used or not beside the others.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    files = [file for path in given for file in _checkpoints(path)]
    if not files:
        raise InputError("-predictor_path: needs a checkpoint")
    if len({file.resolve() for file in files}) < len(files):
        raise InputError(f"-predictor_path: {', '.join(map(str, files))}: one is given twice")
    members = {str(file): load_predictor(file, device=device) for file in files}
    if len(given) > 1:
        return Ensemble(members)
    calibration, known = given[0] / Calibration.FILE_NAME, given[0] / KnownPieces.FILE_NAME
    return Ensemble(
        members,
        Calibration.load(calibration) if calibration.exists() else None,
        KnownPieces.load(known) if known.exists() else None,
    )


def _checkpoints(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.pt"))
    if not files:
        raise InputError(f"{path}: has no checkpoints (.pt)")
    return files


class Ensemble:
    """Scores whole networks as the mean of its members, each kind (PSC, GNN) counting the same.

    Scores are standardised accuracies. PSC members predict them; predictions of GNN members, accuracies as fractions,
    are standardised by mean and deviation of the family's training networks. GNN members alone that do not know these
    keep their fractions.

    How their disagreement becomes a deviation says `Calibration`.

    Attributes:
        members: Name -> predictor; the first one is the one to ask for a quick opinion.
        calibration: From their disagreement to a deviation.
        weights: (members,) what each counts, together 1.
        known_pieces: What the members learnt from, where that is known.
    """

    def __init__(
        self,
        members: Mapping[str, Predictor],
        calibration: Calibration | None = None,
        known_pieces: KnownPieces | None = None,
    ):
        """Put predictors together.

        Raises:
            InputError: Some predict standardised accuracies, some fractions, and none knows how one becomes the other.
        """
        self.members = dict(members)
        self.calibration = calibration or Calibration()
        found = [member.predictor_type for member in self.members.values()]
        self.weights = np.array([1 / found.count(kind) for kind in found]) / len(set(found))
        self.known_pieces = known_pieces
        self._scales: dict[str, Scale] = {}
        for member in self.members.values():
            for family, scale in member.target_normalisers.items():
                self._scales.setdefault(family, scale)
        kinds = {name: member.predictor_type for name, member in self.members.items()}
        if len(set(kinds.values())) > 1 and not self._scales:
            name = next(name for name, kind in kinds.items() if kind == "GNN")
            raise InputError(f"{name}: predicts fractions, the other predictors do not, and none knows the scale")

    @property
    def member_names(self) -> list[str]:
        """The names of the members' files without `.pt`, with as many folders as it takes to tell them apart."""
        parts = [Path(name.removesuffix(".pt")).parts for name in self.members]
        depth = 1
        while len({part[-depth:] for part in parts}) < len({*parts}):
            depth += 1
        return ["_".join(part[-depth:]) for part in parts]

    def first_of(self, predictor_type: str) -> Predictor:
        """The first member of a kind.

        Raises:
            InputError: There is none.
        """
        for member in self.members.values():
            if member.predictor_type == predictor_type:
                return member
        raise InputError(f"-predictor_type: no {predictor_type} predictor in {', '.join(self.members)}")

    @property
    def first(self) -> Predictor:
        """The first member."""
        return next(iter(self.members.values()))

    def accuracy_scale(self, family: str | None) -> Scale | None:
        """What turns scores into accuracies (fractions): mean + deviation * score; None where that is not known."""
        found = entry_of(self._scales, family) if family else None
        return found or (None if self._scales or self.first.predictor_type != "GNN" else UNSCALED)

    def _standard(self, family: str | None) -> Scale:
        """What standardises accuracies of a family, or of all networks where it is not known."""
        known = self.accuracy_scale(family) or self._scales.get(ALL_FAMILIES)
        return known or (_mixture(list(self._scales.values())) if self._scales else UNSCALED)

    def score_members(self, networks: Sequence[SegmentedGraph], family: str | None = None) -> np.ndarray:
        """(networks, members) the standardised scores of every member; see `score_networks`."""
        mean, deviation = self._standard(family)
        scores = np.empty((len(networks), len(self.members)))
        start = 0
        for batch in network_batches(networks):
            for column, member in enumerate(self.members.values()):
                own = np.array(member.score_batch(batch))
                if member.predictor_type == "GNN":
                    own = (own - mean) / deviation
                scores[start : start + len(own), column] = own
            start += len(own)
        return scores

    def embed_networks(self, networks: Sequence[SegmentedGraph]) -> np.ndarray:
        """(networks, width) the members' embeddings side by side; networks as for `score_networks`."""
        batches = network_batches(networks)
        return np.concatenate(
            [np.hstack([one.embed_batch(batch) for one in self.members.values()]) for batch in batches]
        )

    def score_networks(
        self, networks: Sequence[SegmentedGraph], family: str | None = None
    ) -> list[tuple[float, float]]:
        """Mean and deviation of the predicted scores of whole networks; of a single member the deviation is nan.

        Args:
            networks: See `Predictor.score_networks`.
            family: What the networks are of; None or one that the members do not know takes all training networks.

        Raises:
            ValueError: See `Predictor.score_networks`.
        """
        return self.summary(self.score_members(networks, family), family)

    def summary(self, scores: np.ndarray, family: str | None = None) -> list[tuple[float, float]]:
        """Weighted mean and deviation of every row of `score_members`."""
        return self.calibration.summary(scores, self.weights, family)


def _mixture(scales: Sequence[Scale]) -> Scale:
    """Mean and deviation of a population that consists in equal parts of others."""
    means, deviations = np.array(scales).T
    return float(means.mean()), float(np.sqrt(np.mean(deviations**2) + means.var()))
