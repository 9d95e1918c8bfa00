"""What a training writes, and the test of what it found."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_src.files import save_text
from model_src.predictor.checkpoint import load_checkpoint
from model_src.predictor.data.batching import Pack
from model_src.predictor.data.examples import Examples
from model_src.predictor.data.parts import Parts
from model_src.predictor.models import AccuracyPredictor
from model_src.predictor.training.metrics import family_report, network_means, ranking_metrics

EVALUATION_ITEMS = 4096  # predicted in one pass


@dataclass(frozen=True)
class RunFiles:
    """Where one training writes.

    Attributes:
        latest: Checkpoint of the last epoch.
        best: Checkpoint of the best epoch.
        report: Test results as JSON.
    """

    latest: Path
    best: Path
    report: Path

    @classmethod
    def named(cls, folder: Path, name: str) -> "RunFiles":
        """The files of a training called `name`."""
        return cls(*(folder / f"{name}_{suffix}" for suffix in ("latest.pt", "best.pt", "test.json")))


@torch.no_grad()
def predict(model: AccuracyPredictor, pack: Pack, items: np.ndarray) -> np.ndarray:
    """(items,) predictions, in float32 and in the order of the items."""
    model.eval()
    device = next(model.parameters()).device
    chunks = np.split(items, range(EVALUATION_ITEMS, len(items), EVALUATION_ITEMS))
    values = [model(model.batch(pack, chunk).to(device, torch.float32)).cpu() for chunk in chunks if len(chunk)]
    return torch.cat(values).double().numpy()


def predict_parts(model: AccuracyPredictor, parts: Parts, items: np.ndarray) -> np.ndarray:
    """What `predict` does for ascending items, part by part."""
    shares = parts.divide(items)
    return np.concatenate([predict(model, parts.read(number), own - parts.first[number]) for number, own in shares])


def dev_metrics(
    examples: Examples, targets: np.ndarray, items: np.ndarray, predictions: np.ndarray
) -> dict[str, float]:
    """The metrics of the networks that the items are of, by their mean predictions, averaged over the families.

    Args:
        examples: All items.
        targets: (networks,) see `Examples.targets`.
        items: The items.
        predictions: (items,) of them.
    """
    network = examples.network[items]
    numbers, (truth, predicted) = network_means(network, targets[network], predictions)
    family = np.array(examples.families)[numbers]
    per_family = [ranking_metrics(truth[family == name], predicted[family == name]) for name in np.unique(family)]
    return {name: float(np.mean([metrics[name] for metrics in per_family])) for name in per_family[0]}


def run_test(
    predictor_type: str, examples: Examples, items: np.ndarray, files: RunFiles, device: torch.device, n_folds: int = 1
) -> dict[str, dict[str, Any]]:
    """Test the best checkpoint and write the report.

    Args:
        predictor_type: `GNN` or `PSC_predictor`.
        examples: All items.
        items: The items to test on.
        files: Where the checkpoint is and the report goes.
        device: Where to compute.
        n_folds: Folds requested.

    Returns:
        Family -> see `metrics.family_report`.

    Raises:
        InputError: There is no best checkpoint, or it cannot be used.
    """
    checkpoint = load_checkpoint(files.best, predictor_type)
    model = checkpoint.build().to(device)
    normalisers = checkpoint.target_normalisers if predictor_type == "PSC_predictor" else {}
    owner = examples.network[items]
    targets, family = examples.targets(normalisers)[owner], np.array(examples.families)[owner]
    predictions = predict_parts(model, examples.parts, items)
    reports = {}
    for name in dict.fromkeys(family.tolist()):
        of_family = family == name
        reports[name] = family_report(targets[of_family], predictions[of_family], owner[of_family], n_folds)
    content = {
        "checkpoint": files.best.name,
        "epoch": checkpoint.iteration,
        "dev": {checkpoint.selection: checkpoint.best_eval_result},
        "target_normalisers": checkpoint.target_normalisers,
        "test": reports,
    }
    save_text(json.dumps(_without_nan(content), indent=1) + "\n", files.report)
    return reports


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN; it becomes null."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
