"""Reading predictor checkpoints, published ones and ours, and writing ours."""

import pickle
import warnings
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from model_src.files import InputError, atomic_write
from model_src.predictor.models import AccuracyPredictor, build_model, current_names, resolve
from model_src.predictor.settings import PREDICTOR_PARTS, ModelConfig
from model_src.runtime import torch_seed

ALL_FAMILIES = "all"  # stands for all training networks where others stand for a family


@dataclass(frozen=True)
class Checkpoint:
    """A trained predictor and the state of its training.

    The file is a dictionary of these fields, of plain values and tensors only. Published files have the first five.

    Attributes:
        iteration: Finished epochs.
        model: Weights by name.
        optimizer: State of the optimiser.
        best_eval_result: Best dev value so far, in the units of `selection`.
        best_eval_iteration: Epoch that reached it.
        predictor_type: `GNN` or `PSC_predictor`.
        config: Fields of the `ModelConfig`.
        target_normalisers: Family -> (mean, standard deviation) of the accuracies (fractions) it was trained on, with
            which targets were normalised (PSC) or predictions can be (GNN); `all` stands for all networks. Empty where
            the file does not say.
        selection: Metric that the best epoch was chosen by.
        training: What else describes the training, for information.
        average: State of the average of the weights, where there is one to go on from.
    """

    iteration: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    best_eval_result: float | None
    best_eval_iteration: int
    predictor_type: str
    config: dict[str, Any]
    target_normalisers: dict[str, tuple[float, float]]
    selection: str
    training: dict[str, Any]
    average: dict[str, torch.Tensor] = field(default_factory=dict)

    def build(self) -> AccuracyPredictor:
        """The predictor with its weights."""
        config = ModelConfig(**self.config)
        with torch_seed(0):  # the fresh weights do not matter, the generator of others does
            model = build_model(self.predictor_type, config)
        graph_conv = config.gnn_type == "GraphConv"
        model.load_state_dict(current_names(self.model) if graph_conv else self.model)
        return model

    def save(self, path: str | Path) -> None:
        """Write the file; an interruption leaves the old one as it was."""
        with atomic_write(path) as file:
            torch.save({entry.name: getattr(self, entry.name) for entry in fields(self)}, file)


def load_checkpoint(path: str | Path, predictor_type: str | None = None) -> Checkpoint:
    """Read a checkpoint without running any code from it; without a type it may be of any.

    Raises:
        InputError: The type is unknown, or the file is missing, damaged, foreign or of the other type.
    """
    if predictor_type is not None:
        resolve("-predictor_type", predictor_type, PREDICTOR_PARTS)
    content = _read(Path(path))
    config = content.get("config") or asdict(ModelConfig())
    try:
        width = content["model"]["regressor.weight"].shape[1]
        found = {parts: name for name, parts in PREDICTOR_PARTS.items()}[width // config["out_channels"]]
        defaults = {
            "predictor_type": found,
            "config": config,
            "target_normalisers": {},
            "selection": "mape",
            "training": {},
        }
        checkpoint = Checkpoint(**{**defaults, **content})
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: not a checkpoint of a predictor ({type(error).__name__}: {error})") from error
    if predictor_type not in (None, found):
        raise InputError(f"{path}: holds a {found} predictor, not {predictor_type}")
    try:
        checkpoint.build()
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path}: its weights do not fit: {str(error).splitlines()[-1].strip()}") from error
    return checkpoint


def _read(path: Path) -> dict[str, Any]:
    try:
        data = BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its remarks on pickles that it did not write
            content = torch.load(data, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: not a checkpoint that can be loaded safely") from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        # What PyTorch raises on bytes that are cut short or were never a checkpoint.
        raise InputError(f"{path}: not a checkpoint, or damaged ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content
