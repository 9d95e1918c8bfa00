"""Training and testing of both predictors."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from model_src.files import InputError, save_text
from model_src.predictor.checkpoint import Checkpoint, load_checkpoint
from model_src.predictor.data.batching import Pack
from model_src.predictor.data.examples import Examples
from model_src.predictor.models import AccuracyPredictor, build_model
from model_src.predictor.settings import ModelConfig, TrainingConfig
from model_src.predictor.training.metrics import family_report, regression_metrics
from model_src.runtime import torch_seed

EVALUATION_ITEMS = 512  # predicted in one pass
HIGHER_IS_BETTER = {"srcc": True, "mae": False, "mape": False}

_log = logging.getLogger(__name__)


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


def epoch_batches(
    items: np.ndarray, network: np.ndarray, batch_size: int, samples: int | None, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Draw the batches of an epoch.

    Args:
        items: The items to learn from.
        network: Number of the network of each of them.
        batch_size: Networks per batch.
        samples: Items drawn of each network; None takes all.
        rng: Draws them, and the order of the networks.
    """
    shuffled = rng.permutation(len(items))
    shuffled = shuffled[np.argsort(network[shuffled], kind="stable")]
    _, starts = np.unique(network[shuffled], return_index=True)
    groups = np.split(items[shuffled], starts[1:])
    order = rng.permutation(len(groups))
    for first in range(0, len(order), batch_size):
        yield np.concatenate([groups[number][:samples] for number in order[first : first + batch_size]])


@torch.no_grad()
def predict(model: AccuracyPredictor, pack: Pack, items: np.ndarray) -> np.ndarray:
    """(items,) predictions, in float32 and in the order of the items."""
    model.eval()
    device = next(model.parameters()).device
    chunks = np.split(items, range(EVALUATION_ITEMS, len(items), EVALUATION_ITEMS))
    values = [model(model.batch(pack, chunk).to(device, torch.float32)).cpu() for chunk in chunks if len(chunk)]
    return torch.cat(values).double().numpy()


class Training:
    """One run over the epochs: a model, its optimiser, and the best epoch so far."""

    def __init__(
        self,
        predictor_type: str,
        model_config: ModelConfig,
        config: TrainingConfig,
        device: torch.device,
        target_normalisers: Mapping[str, tuple[float, float]],
    ):
        """Start with fresh weights.

        Args:
            predictor_type: `GNN` or `PSC_predictor`.
            model_config: Architecture.
            config: How to train.
            device: Where to train.
            target_normalisers: Written into the checkpoints.
        """
        with torch_seed(config.seed):
            self.model = build_model(predictor_type, model_config).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.initial_lr)
        self.epoch, self.best_value, self.best_epoch = 0, None, 0
        self._predictor_type, self._model_config, self._config = predictor_type, model_config, config
        self._device, self._target_normalisers = device, dict(target_normalisers)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: There is none, or it is of another architecture, metric or division of the data.
        """
        checkpoint = load_checkpoint(path, self._predictor_type)
        expected = self.checkpoint()
        for name in ("config", "selection", "target_normalisers"):
            if getattr(checkpoint, name) != getattr(expected, name):
                raise InputError(f"{path}: cannot go on from it, its {name} is not that of this training")
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.epoch, self.best_epoch = checkpoint.iteration, checkpoint.best_eval_iteration
        self.best_value = checkpoint.best_eval_result

    def checkpoint(self) -> Checkpoint:
        """The present state."""
        return Checkpoint(
            iteration=self.epoch,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            best_eval_result=self.best_value,
            best_eval_iteration=self.best_epoch,
            predictor_type=self._predictor_type,
            config=asdict(self._model_config),
            target_normalisers=self._target_normalisers,
            selection=self._config.select,
            training=asdict(self._config),
        )

    def run(self, examples: Examples, targets: np.ndarray, sides: Mapping[str, np.ndarray], files: RunFiles) -> None:
        """Train to the last epoch, writing the latest and the best checkpoint.

        Args:
            examples: All items.
            targets: (items,) what to predict.
            sides: The items of `train` and `dev`.
            files: Where to write.
        """
        while self.epoch < self._config.epochs:
            loss = self._run_epoch(examples.pack, targets, sides["train"])
            self.epoch += 1
            metrics = mean_metrics(examples, targets, sides["dev"], predict(self.model, examples.pack, sides["dev"]))
            value = metrics[self._config.select]
            better = self._is_better(value)
            if better:
                self.best_value, self.best_epoch = value, self.epoch
                self.checkpoint().save(files.best)
            self.checkpoint().save(files.latest)
            shown = ", ".join(f"{name} {metrics[name]:.6g}" for name in metrics)
            _log.info(f"epoch {self.epoch}: loss {loss:.6g}; dev {shown}{' (best so far)' if better else ''}")

    def _is_better(self, value: float) -> bool:
        if self.best_value is None or math.isnan(self.best_value):
            return True
        return value > self.best_value if HIGHER_IS_BETTER[self._config.select] else value < self.best_value

    def _run_epoch(self, pack: Pack, targets: np.ndarray, items: np.ndarray) -> float:
        """One pass over the training networks; the mean loss."""
        config, network = self._config, pack.network[items]
        seed = np.random.SeedSequence([config.seed, self.epoch])  # no state to save: an epoch's draws are its own
        batches = epoch_batches(items, network, config.batch_size, config.epoch_samples, np.random.default_rng(seed))
        n_batches = math.ceil(len(np.unique(network)) / config.batch_size)
        bar = tqdm(batches, f"epoch {self.epoch + 1}", n_batches, unit="batch", leave=False, disable=None)
        total, count = 0.0, 0
        self.model.train()
        with torch_seed(int(seed.generate_state(1)[0])):
            for number, batch_items in enumerate(bar):
                self._set_learning_rate((self.epoch + number / n_batches) / config.epochs)
                target = torch.as_tensor(targets[batch_items], dtype=torch.float32, device=self._device)
                loss = self._step(
                    self.model(self.model.batch(pack, batch_items).to(self._device, torch.float32)), target
                )
                total, count = total + loss * len(batch_items), count + len(batch_items)
        return total / count

    def _step(self, predictions: Tensor, targets: Tensor) -> float:
        loss = nn.functional.mse_loss(predictions, targets)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._config.max_gradient_norm)
        self.optimizer.step()
        return loss.item()

    def _set_learning_rate(self, progress: float) -> None:
        factor = 0.5 * (1 + math.cos(math.pi * progress)) if self._config.lr_schedule == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self._config.initial_lr * factor


def mean_metrics(
    examples: Examples, targets: np.ndarray, items: np.ndarray, predictions: np.ndarray
) -> dict[str, float]:
    """The metrics of the given items, averaged over their families."""
    family = examples.family_of_item[items]
    per_family = [
        regression_metrics(targets[items][family == name], predictions[family == name]) for name in np.unique(family)
    ]
    return {name: float(np.mean([metrics[name] for metrics in per_family])) for name in per_family[0]}


def run_training(
    predictor_type: str,
    examples: Examples,
    sides: Mapping[str, np.ndarray],
    model_config: ModelConfig,
    config: TrainingConfig,
    files: RunFiles,
    device: torch.device,
    resume: bool = False,
) -> None:
    """Train a predictor; its best and latest checkpoints are the result.

    PSC learns z-scores of every family's accuracies, GNN the accuracies themselves.

    Args:
        predictor_type: `GNN` or `PSC_predictor`.
        examples: All items.
        sides: The items of `train` and `dev`.
        model_config: Architecture.
        config: How to train.
        files: Where to write.
        device: Where to train.
        resume: Go on from the latest checkpoint.

    Raises:
        InputError: The accuracies of a family do not differ, or the latest checkpoint does not go with this training.
    """
    normalisers = examples.target_normalisers(sides["train"]) if predictor_type == "PSC_predictor" else {}
    training = Training(predictor_type, model_config, config, device, normalisers)
    if resume:
        training.resume(files.latest)
    counts = ", ".join(f"{len(items)} {side}" for side, items in sides.items())
    _log.info(f"{files.best.stem.removesuffix('_best')}: {counts} records")
    training.run(examples, examples.targets(normalisers), sides, files)


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
    targets, family = examples.targets(checkpoint.target_normalisers)[items], examples.family_of_item[items]
    predictions = predict(model, examples.pack, items)
    owner = examples.pack.network[items]
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
