"""Reading predictor checkpoints, published ones and ours, and writing ours."""

import math
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from model_src.files import InputError, atomic_write, read_bytes
from model_src.pickles import check_pickle
from model_src.predictor.models import AccuracyPredictor, build_model, current_names, resolve
from model_src.predictor.settings import PREDICTOR_PARTS, SELECTION_METRICS, ModelConfig
from model_src.runtime import torch_seed

_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError)
_LEGACY_PICKLES = 5
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

    def build(self, only_shapes: bool = False) -> AccuracyPredictor:
        """The predictor with its weights, or as if it had them."""
        config = ModelConfig(**self.config)
        with torch_seed(0):  # the fresh weights do not matter, the generator of others does
            model = build_model(self.predictor_type, config)
        graph_conv = config.gnn_type == "GraphConv"
        weights = current_names(self.model) if graph_conv else self.model
        model.load_state_dict({name: one.to("meta") for name, one in weights.items()} if only_shapes else weights)
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
    config = content.get("config", asdict(ModelConfig()))
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
        checkpoint = replace(checkpoint, target_normalisers=_scales(checkpoint.target_normalisers))
        _check_fields(checkpoint)
        _check_config(checkpoint.config, checkpoint.model)
        if checkpoint.predictor_type != found:
            raise ValueError(f"its weights are of a {found}, it says {checkpoint.predictor_type!r:.20}")
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise InputError(f"{path}: not a checkpoint of a predictor ({type(error).__name__}: {error})") from error
    if predictor_type not in (None, found):
        raise InputError(f"{path}: holds a {found} predictor, not {predictor_type}")
    try:
        with torch.device("meta"), _Undrawn():  # no memory for what may not fit
            checkpoint.build(only_shapes=True)
        checkpoint.build()
    except (ValueError, RuntimeError, TypeError) as error:
        raise InputError(f"{path}: its weights do not fit: {str(error).splitlines()[-1].strip()}") from error
    return checkpoint


class _Undrawn(TorchFunctionMode):
    """Leaves weights as they are: on `meta` there is nothing to draw, and trying it imports a compiler for a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, except for one."""
        given = kwargs or {}
        return given["tensor"] if func is nn.init.normal_ else func(*args, **given)


def _scales(content: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Family -> mean and deviation, which are numbers of a sensible size."""
    scales = {}
    for family, (mean, deviation) in content.items():
        if not (isinstance(family, str) and -1e6 < float(mean) < 1e6 and 0 < float(deviation) < 1e6):
            raise ValueError(f"{mean} and {deviation} are no mean and deviation")
        scales[family] = float(mean), float(deviation)
    return scales


def _check_fields(checkpoint: Checkpoint) -> None:
    """Types and ranges of what is no part of the architecture."""
    for name in ("iteration", "best_eval_iteration"):
        value = getattr(checkpoint, name)
        if type(value) is not int or not 0 <= value < 1 << 31:
            raise ValueError(f"{name} {value!r:.20}")
    best = checkpoint.best_eval_result
    if best is not None and math.isinf(best):  # not a number where no epoch had a value
        raise ValueError(f"best_eval_result {best!r:.20}")
    if checkpoint.selection not in SELECTION_METRICS:
        raise ValueError(f"selection {checkpoint.selection!r:.20}")
    for name in ("model", "optimizer", "training", "average"):
        if not isinstance(getattr(checkpoint, name), dict):
            raise ValueError(f"{name} is no dictionary")
    for name, values in (*checkpoint.model.items(), *checkpoint.average.items()):
        if values.layout is not torch.strided or values.numel() * values.itemsize > values.untyped_storage().nbytes():
            raise ValueError(f"{name!r:.40} has more numbers than are stored")
        if values.is_complex() or not values.isfinite().all():
            raise ValueError(f"some of the weights {name!r:.40} are no real numbers")


def _check_config(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse what is no architecture, or one that the weights are too few for, before anything is built."""
    largest = max(max(values.shape, default=0) for values in weights.values())
    limits = {**dict.fromkeys(("in_channels", "hidden_size", "out_channels"), largest), "num_layers": len(weights)}
    for name, value in {**asdict(ModelConfig()), **config}.items():
        if name in limits and not (isinstance(value, int) and 1 <= value <= limits[name]):
            raise ValueError(f"{name} {value!r:.20}")
        if name in ("dropout_prob", "output_mean", "output_deviation") and not -1e6 < float(value) < 1e6:
            raise ValueError(f"{name} {value!r:.20}")
        if name == "map_size" and value is not None and not (isinstance(value, int) and value > 0):
            raise ValueError(f"{name} {value!r:.20}")


def _check_zip(path: Path, file: zipfile.ZipFile, n_bytes: int) -> None:
    """Refuse what PyTorch reads without a word: changed bytes, and packed ones that grow when they are read."""
    entries = file.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(f"{path}: not a checkpoint (it is compressed)")
    if sum(entry.file_size for entry in entries) > n_bytes:
        raise InputError(f"{path}: not a checkpoint (its parts overlap)")
    if damaged := file.testzip():
        raise InputError(f"{path}: damaged ({damaged} is not what was written)")
    for entry in entries:
        if entry.filename.endswith(".pkl"):
            check_pickle(file.read(entry))


def _read(path: Path) -> dict[str, Any]:
    content = read_bytes(path)
    data = BytesIO(content)
    try:
        if zipfile.is_zipfile(data):
            _check_zip(path, zipfile.ZipFile(data), len(content))
        else:  # of PyTorch before 1.6: some numbers, the dictionary, the names of its arrays
            end = 0
            for _ in range(_LEGACY_PICKLES):
                end = check_pickle(content, start=end)
        data.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its remarks on pickles that it did not write
            loaded = torch.load(data, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: not a checkpoint that can be loaded safely") from error
    except InputError:
        raise
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, *_ZIP) as error:
        # What PyTorch raises on bytes that are cut short or were never a checkpoint.
        raise InputError(f"{path}: not a checkpoint, or damaged ({type(error).__name__})") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: holds a {type(loaded).__name__}, not a checkpoint")
    return loaded
