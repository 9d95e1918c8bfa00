"""The long jobs that `reliability.py` kills, each so small that it takes seconds, and what counts of their results."""

import csv
import io
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import ROOT, shipped_files

VOCABULARY = ("-encoder_families", "hiaml", "-vocab_size", "200")
LEARNING = ("-num_layers", "2", "-epochs", "5", "-device_str", "cpu", "-num_workers", "1")
TRAINING = ("-epochs", "4", "-train_images", "32", "-batch_size", "16")
UNTIMED = ("seconds", "device")  # what may differ between two runs of one job

Command = tuple[str, list[str]]  # a script without `.py`, and its flags


@dataclass(frozen=True)
class Job:
    """A long job.

    Attributes:
        name: For the table.
        begin: (folder of inputs, folder of results) -> what is run.
        go_on: Likewise what goes on with it; what is run is what goes on, if not given.
        results: Names of files that must be among the results.
        given: Folder of the inputs that is copied into the folder of results before.
        place: Where in the folder of results they are.
    """

    name: str
    begin: Callable[[Path, Path], Command]
    results: tuple[str, ...]
    go_on: Callable[[Path, Path], Command] | None = None
    given: str | None = None
    place: Callable[[Path], Path] = Path

    def prepare(self, inputs: Path, folder: Path) -> None:
        """Make the folder of results as it is before the job."""
        if self.given:
            shutil.copytree(inputs / self.given, folder / self.given)
        else:
            folder.mkdir(parents=True)

    def resumed(self, inputs: Path, folder: Path) -> Command:
        """What goes on with it."""
        return (self.go_on or self.begin)(inputs, folder)


def search_flags(folder: Path, **changes: Any) -> list[str]:
    """A small search; None leaves a flag out, True makes it a switch."""
    flags = {
        "model_path": ROOT / "architectures" / "nb201_best.pkl",
        **{"model_family": "nb201", "predictor_path": ROOT / "saved_models" / "ensemble"},
        **{"predictor_type": "PSC_predictor", "input_h": 32, "input_w": 32, "input_c": 3},
        **{"epoch": 5, "top_k": 2, "max_candidate_per_iter": 4, "max_target_per_iter": 10, "rescore_per_iter": 10},
        **{"min_flops_decrease_percent": -10, "max_flops_decrease_percent": 100, "max_score_drop": 3},
        **{"output_dir": folder / "out", "logs_dir": folder / "out", "no_drawings": True},
        **changes,
    }
    given = [(f"-{name}", value) for name, value in flags.items() if value is not None]
    return [str(word) for flag, value in given for word in ((flag,) if value is True else (flag, value))]


def search_goes_on(inputs: Path, folder: Path) -> Command:
    """What a user types after a stopped search: `-resume` where there is a folder to go on with, else the same."""
    begun = [path for path in (folder / "out").glob("*") if (path / "unfinished").exists()]
    return ("autogo", ["-resume", str(begun[0])]) if begun else ("autogo", search_flags(folder))


def _latest(folder: Path) -> Path:
    """The folder of the search that came to its end; one that was killed at once may have left another."""
    return max((folder / "out").iterdir(), key=lambda path: ((path / "pareto.csv").exists(), path.name))


def _families(inputs: Path, folder: Path) -> Command:
    files = shipped_files()
    teacher = ("-teacher_path", ROOT / "saved_models" / "psc_chkpt.pt", "-encoder_path", files.encoder)
    flags = ("-family", "nb201", "-num", 300, "-label", "teacher", *teacher, "-tokenizer_path", files.model)
    places = ("-output", folder / "family.pkl", "-save_labels", folder / "labels.csv")
    return "gen_families", [*map(str, (*flags, *places))]


def _vocabulary(inputs: Path, folder: Path) -> Command:
    flags = ("-families", "hiaml", "-vocab_size", 200, "-data_dir", inputs / "data", "-output_dir", folder)
    return "gen_vocab", [*map(str, flags)]


def _database(inputs: Path, folder: Path) -> Command:
    (encoder,), (model,) = ((inputs / "vocabulary").rglob(pattern) for pattern in ("*encoder*.pkl", "*.model"))
    flags = ("-families", "hiaml", "-encoder_path", encoder, "-tokenizer_path", model, "-data_dir", inputs / "data")
    return "gen_DB", [*map(str, flags), "-output", str(folder / "database.pkl")]


def _splits(inputs: Path, folder: Path) -> Command:
    places = ("-data_dir", inputs / "data", "-vocabulary_dir", inputs / "vocabulary", "-cache_dir", folder)
    return "run_psc_segment", ["-data_family", "hiaml", *VOCABULARY, *map(str, places)]


def _selection(inputs: Path, folder: Path) -> Command:
    (splits,) = (path for path in (inputs / "caches").iterdir() if "_s_ns" not in path.name)
    flags = ("-data_family", "hiaml", *VOCABULARY, "-num_samples", "50", "-cache", splits, "-cache_dir", folder)
    return "make_segment_predictor_cache_sa", [*map(str, flags)]


def _psc(inputs: Path, folder: Path, *more: str) -> Command:
    flags = ("-data_families", "hiaml", *VOCABULARY, *LEARNING, "-epoch_samples", "4", "-ema_decay", "0.9", *more)
    places = ("-cache_dir", inputs / "caches", "-saved_models_dir", folder, "-logs_dir", folder.parent / "logs")
    return "run_gpi_segment_predictor", [*flags, *map(str, places)]


def _gnn(inputs: Path, folder: Path, *more: str) -> Command:
    flags = ("-data_families", "hiaml", *LEARNING, "-lr_schedule", "cosine", "-num_seeds", "2", *more)
    places = ("-data_dir", inputs / "data", "-saved_models_dir", folder, "-logs_dir", folder.parent / "logs")
    return "run_cg_kgnn_predictor", [*flags, *map(str, places)]


def _labels(inputs: Path, folder: Path) -> Command:
    flags = ("-family", "two_path", "-num", 1, "-label", "train", *TRAINING, "-train_data_dir", inputs / "cifar")
    places = ("-output", folder / "family.json", "-save_labels", folder / "labels.csv")
    return "gen_families", [*map(str, (*flags, *places))]


def _trained(inputs: Path, folder: Path) -> Command:
    (found,) = (folder / "searched" / "out").iterdir()
    flags = ("-resume", found, "-num_train_cgs", 1, "-num_runs_cg", 1, "-train_data_dir", inputs / "cifar")
    return "autogo", [*map(str, flags), "-train_epochs", "4", "-train_images", "32", "-train_batch_size", "16"]


SEARCH = Job(
    "search (`autogo.py`)",
    lambda i, f: ("autogo", search_flags(f)),
    ("pareto.csv", "rank_0.pkl"),
    search_goes_on,
    None,
    _latest,
)
OTHERS = (
    Job("families with estimates (`gen_families.py`)", _families, ("family.pkl", "labels.csv")),
    Job("vocabulary (`gen_vocab.py`)", _vocabulary, ("h_vsize200_bpe_shp.model",)),
    Job("segment database (`gen_DB.py`)", _database, ("database.pkl",)),
    Job("splits (`run_psc_segment.py`)", _splits, ()),
    Job("selected splits (`make_segment_predictor_cache_sa.py`)", _selection, ()),
    Job("PSC training (`run_gpi_segment_predictor.py`)", _psc, (), lambda i, f: _psc(i, f, "-resume")),
    Job("GNN training (`run_cg_kgnn_predictor.py`)", _gnn, (), lambda i, f: _gnn(i, f, "-resume")),
    Job("labels by training (`gen_families.py -label train`)", _labels, ("family.json", "labels.csv")),
    Job("training of results (`autogo.py -resume`)", _trained, ("train_result.json",), given="searched"),
)


def make_images(folder: Path) -> None:
    """A small made-up CIFAR-10 in the official layout."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        labels = rng.integers(10, size=16)
        images = rng.integers(256, size=(16, 3072), dtype=np.uint8) // 2 + 12 * labels[:, None].astype(np.uint8)
        batch = {b"data": images, b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=4))


def results(folder: Path) -> dict[str, bytes]:
    """Name -> content of every file that a job left, without what differs from run to run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.name] = _READERS.get(path.suffix, bytes)(path.read_bytes())
    return found


def _without_times(content: bytes) -> bytes:
    def kept(one: Any) -> Any:
        if isinstance(one, Mapping):
            return {name: kept(value) for name, value in one.items() if name not in UNTIMED}
        return [kept(value) for value in one] if isinstance(one, list) else one

    return json.dumps(kept(json.loads(content))).encode()


def _csv(content: bytes) -> bytes:
    rows = csv.DictReader(io.StringIO(content.decode()))
    return repr([{name: value for name, value in row.items() if name not in UNTIMED} for row in rows]).encode()


def _tensors(content: bytes) -> bytes:
    """A safetensors file without its text, which holds times."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    return json.dumps(header, sort_keys=True).encode() + content[8 + length :]


_READERS: dict[str, Callable[[bytes], bytes]] = {".json": _without_times, ".csv": _csv, ".safetensors": _tensors}
