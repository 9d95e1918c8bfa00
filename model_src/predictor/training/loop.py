"""Training of both predictors."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from model_src.files import InputError
from model_src.predictor.checkpoint import ALL_FAMILIES, Checkpoint, load_checkpoint
from model_src.predictor.data.batching import Pack
from model_src.predictor.data.examples import Examples
from model_src.predictor.models import AccuracyPredictor, build_model
from model_src.predictor.settings import ModelConfig, TrainingConfig
from model_src.predictor.training.evaluation import RunFiles, dev_metrics, predict_parts
from model_src.predictor.training.losses import Goals, loss_of
from model_src.runtime import torch_seed

_NOT_FLAGS = {  # what describes a training beside its flags
    "examples": "the hash of its networks",
    "map_size": "the map size (-normalize_HW_per_family)",
    "output_mean": "the mean accuracy of its networks",
    "output_deviation": "the deviation of its networks' accuracies",
    "target_normalisers": "mean and deviation of its families",
}
HIGHER_IS_BETTER = {"srcc": True, "tau": True, "mae": False, "mape": False}

_log = logging.getLogger(__name__)


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


class Training:
    """One run over the epochs: a model, its optimiser, the average of its weights, and the best epoch so far."""

    def __init__(
        self,
        predictor_type: str,
        model_config: ModelConfig,
        config: TrainingConfig,
        device: torch.device,
        target_normalisers: Mapping[str, tuple[float, float]],
        data: Mapping[str, object] | None = None,
    ):
        """Start with fresh weights.

        Args:
            predictor_type: `GNN` or `PSC_predictor`.
            model_config: Architecture.
            config: How to train.
            device: Where to train.
            target_normalisers: Written into the checkpoints.
            data: What tells the networks and their division from others, likewise.
        """
        with torch_seed(config.seed):
            self.model = build_model(predictor_type, model_config).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.initial_lr)
        self.average: AveragedModel | None = None
        if config.ema_decay:
            self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        self.epoch, self.best_epoch = 0, 0
        self.best_value: float | None = None
        self._predictor_type, self._model_config, self._config = predictor_type, model_config, config
        self._device, self._target_normalisers = device, dict(target_normalisers)
        self._about = {**asdict(config), **(data or {})}

    @property
    def result(self) -> AccuracyPredictor:
        """What has been learnt so far: the averaged weights, or without averaging the last ones."""
        if self.average is None:
            return self.model
        return cast(AccuracyPredictor, self.average.module)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; a constant learning rate allows for more epochs than it was begun with.

        Raises:
            InputError: It is of a training with other flags or networks.
        """
        checkpoint = load_checkpoint(path, self._predictor_type)
        expected = self.latest()
        had, wanted = (
            {**one.config, "select": one.selection, **one.training, "target_normalisers": one.target_normalisers}
            for one in (checkpoint, expected)
        )
        more = self._config.lr_schedule == "constant" and had.get("epochs", 0) <= self._config.epochs
        for name in wanted:
            if name in had and had[name] != wanted[name] and not (name == "epochs" and more):
                what = _NOT_FLAGS.get(name, f"-{name}")
                raise InputError(f"{path}: cannot go on from it, {what} was {had[name]}, not {wanted[name]}")
        if set(checkpoint.average) != set(expected.average):
            raise InputError(f"{path}: cannot go on from it, -ema_decay was given to one training and not to the other")
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        if self.average is not None:
            self.average.load_state_dict(checkpoint.average)
        self.epoch, self.best_epoch = checkpoint.iteration, checkpoint.best_eval_iteration
        self.best_value = checkpoint.best_eval_result

    def latest(self) -> Checkpoint:
        """The present state, to go on from."""
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
            training=self._about,
            average={} if self.average is None else self.average.state_dict(),
        )

    def run(self, examples: Examples, sides: Mapping[str, np.ndarray], files: RunFiles) -> None:
        """Train to the last epoch, writing the latest and the best checkpoint; the best has no optimiser state.

        Args:
            examples: All items.
            sides: The items of `train` and `dev`.
            files: Where to write.

        Raises:
            InputError: The loss is no longer a number.
        """
        targets = examples.targets(self._target_normalisers if self._predictor_type == "PSC_predictor" else {})
        goals = Goals.of(examples, self._predictor_type, self._target_normalisers)
        while self.epoch < self._config.epochs:
            loss = self.run_epoch(examples, goals, sides["train"])
            self.epoch += 1
            if not math.isfinite(loss):
                raise InputError(f"-initial_lr {self._config.initial_lr:g}: the loss of epoch {self.epoch} is {loss}")
            predictions = predict_parts(self.result, examples.parts, sides["dev"])
            metrics = dev_metrics(examples, targets, sides["dev"], predictions)
            value = metrics[self._config.select]
            better = self._is_better(value)
            if better:
                self.best_value, self.best_epoch = value, self.epoch
                found = replace(self.latest(), model=self.result.state_dict(), optimizer={}, average={})
                found.save(files.best)
            self.latest().save(files.latest)
            shown = ", ".join(f"{name} {metrics[name]:.6g}" for name in metrics)
            _log.info(f"epoch {self.epoch}: loss {loss:.6g}; dev {shown}{' (best so far)' if better else ''}")

    def _is_better(self, value: float) -> bool:
        if self.best_value is None or math.isnan(self.best_value):
            return True
        return value > self.best_value if HIGHER_IS_BETTER[self._config.select] else value < self.best_value

    def run_epoch(self, examples: Examples, goals: Goals, items: np.ndarray) -> float:
        """One pass over the training networks; the mean loss."""
        config, network = self._config, examples.network
        seed = np.random.SeedSequence([config.seed, self.epoch])  # no state to save: an epoch's draws are its own
        batches = self._batches(examples, items, np.random.default_rng(seed))
        n_networks = [len(np.unique(network[own])) for _, own in examples.parts.divide(items)]
        n_batches = sum(math.ceil(count / config.batch_size) for count in n_networks)
        bar = tqdm(batches, f"epoch {self.epoch + 1}", n_batches, unit="batch", leave=False, disable=None)
        total, count = 0.0, 0
        self.model.train()
        with torch_seed(int(seed.generate_state(1)[0])):
            for number, (pack, first, batch_items) in enumerate(bar):
                self._set_learning_rate((self.epoch + number / n_batches) / config.epochs)
                batch = self.model.batch(pack, batch_items - first).to(self._device, torch.float32)
                chosen = goals.select(network[batch_items]).to(self._device)
                loss = self._step(loss_of(self.model(batch), chosen, config))
                total, count = total + loss * len(batch_items), count + len(batch_items)
        return total / count

    def _batches(
        self, examples: Examples, items: np.ndarray, rng: np.random.Generator
    ) -> Iterator[tuple[Pack, int, np.ndarray]]:
        """Part by part, in an order that is drawn: its pack, the number of its first item, and items of a batch."""
        parts, config = examples.parts, self._config
        shares = parts.divide(items)
        for number, own in (shares[place] for place in rng.permutation(len(shares))):
            pack, first = parts.read(number), int(parts.first[number])
            network = examples.network[own]
            for batch_items in epoch_batches(own, network, config.batch_size, config.epoch_samples, rng):
                yield pack, first, batch_items

    def _step(self, loss: Tensor) -> float:
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._config.max_gradient_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss.item()

    def _set_learning_rate(self, progress: float) -> None:
        factor = 0.5 * (1 + math.cos(math.pi * progress)) if self._config.lr_schedule == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self._config.initial_lr * factor


def run_training(
    predictor_type: str,
    examples: Examples,
    sides: Mapping[str, np.ndarray],
    model_config: ModelConfig,
    config: TrainingConfig,
    files: RunFiles,
    device: torch.device,
    resume: bool = False,
    division: Mapping[str, object] | None = None,
) -> None:
    """Train a predictor; its best and latest checkpoints are the result.

    PSC predicts z-scores of every family's accuracies, GNN the accuracies themselves, on a scale that the checkpoint
    holds. Errors count in deviations of the family's accuracies for both.

    Args:
        predictor_type: `GNN` or `PSC_predictor`.
        examples: All items.
        sides: The items of `train` and `dev`.
        model_config: Architecture.
        config: How to train.
        files: Where to write.
        device: Where to train.
        resume: Go on from the latest checkpoint; without one, begin.
        division: The flags that divided the networks.

    Raises:
        InputError: The accuracies of a family do not differ, or the latest checkpoint does not go with this training.
    """
    normalisers = examples.target_normalisers(sides["train"])
    if predictor_type == "GNN":
        mean, deviation = normalisers[ALL_FAMILIES]
        model_config = replace(model_config, output_mean=mean, output_deviation=deviation)
    data = {**(division or {}), "examples": examples.identity(sides)}
    training = Training(predictor_type, model_config, config, device, normalisers, data)
    if resume and files.latest.exists():
        training.resume(files.latest)
    elif resume:
        _log.info(f"{files.latest}: there is none, so the training begins")
    counts = ", ".join(f"{len(items)} {side}" for side, items in sides.items())
    _log.info(f"{files.best.stem.removesuffix('_best')}: {counts} records")
    training.run(examples, sides, files)
