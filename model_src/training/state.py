"""The file that a training goes on from: after every epoch weights, optimiser and random state, in the end the weights.

It is in the safetensors format, which holds numbers and text and no code. What reads that can read the weights; their
names are those of `TorchNetwork.state_dict` with `network.` before them.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from model_src.files import atomic_write, regular_file

logger = logging.getLogger(__name__)

NETWORK = "network."
_KEY = "training"  # of the text in the file


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands.

    Attributes:
        epoch: Finished epochs.
        tests: (loss, accuracy) of every test.
        seconds: Wall time so far.
        random: State of the generator that draws the epochs.
        tensors: What training has changed, see `Learner.state`; in the end only the network's.
    """

    epoch: int
    tests: list[tuple[float, float]]
    seconds: float
    random: dict[str, Any]
    tensors: dict[str, np.ndarray]


class StateFile:
    """Writes and reads the state of one training.

    Args:
        path: The file; None keeps nothing.
        identity: What tells the training from others, as JSON data.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]):
        self._path, self._identity = path, json.loads(json.dumps(identity))

    def save(self, state: TrainingState) -> None:
        """Write a state; an interruption leaves the one before it as it was."""
        if self._path is None:
            return
        about = {"epoch": state.epoch, "tests": state.tests, "seconds": state.seconds, "random": state.random}
        text = json.dumps({**about, "identity": self._identity})
        tensors = {name: np.asarray(tensor, order="C") for name, tensor in state.tensors.items()}
        with atomic_write(self._path) as file:
            file.write(save(tensors, {_KEY: text}))

    def load(self, shapes: Mapping[str, tuple[int, ...]]) -> TrainingState | None:
        """The state to go on from; None where there is none, or where the file is damaged or of another training.

        Args:
            shapes: Of the network's tensors by name.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            return self._read(shapes)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            logger.warning("%s: cannot be gone on from (%s); the training begins anew", self._path, reason)
            return None

    def _read(self, shapes: Mapping[str, tuple[int, ...]]) -> TrainingState:
        assert self._path
        with safe_open(regular_file(self._path), "numpy") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            if about.pop("identity") != self._identity:
                raise ValueError("it is of another training")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
        own = {name: tensor.shape for name, tensor in tensors.items() if name.startswith(NETWORK)}
        if own != dict(shapes):
            raise ValueError("it is of another network")
        return TrainingState(tensors=tensors, **about)


NOWHERE = StateFile(None, {})
