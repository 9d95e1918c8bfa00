"""Sample networks of a family and write them as a cache in the published form.

The published caches cannot always be downloaded; this makes stand-ins that the other scripts read. No two networks of
a cache are the same graph. Accuracies come from a table, from a package, from a teacher or from training; networks that
a table does not know are left out. A table is a CSV file (`.csv` or `.csv.gz`) with a header: first column the network
(the NAS-Bench-201 architecture string, the NAS-Bench-101 cell hash, or for every family the hash of its config or the
canonical hash of its graph), last column with `acc` in its name the accuracy. If any accuracy of the column exceeds 1,
the whole column is taken as percent. A teacher is a PSC predictor; its estimates can be kept as such a table. Training
keeps one by itself: a row per training, written when it ends, so that a rerun goes on where the last one stopped.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import constants
from model_src.cli import FlagParser, non_negative_int, positive_int, run_script, shipped_path
from model_src.encoder.paths import vocabulary_files
from model_src.families import all_names, find, with_networks
from model_src.files import InputError, save_pickle

if TYPE_CHECKING:
    from model_src.search_space.sampling import Drawn

TEACHER, TRAIN = "teacher", "train"
NETWORKS_PER_LESSON = 32  # estimated at once


@dataclass(frozen=True)
class Config:
    """The flags; `num` None means every network, `output` None the family's cache in data/.

    Those of the training are None where they are not given.
    """

    family: str
    num: int | None
    seed: int
    label_table: Path | None
    label: str | None
    teacher_path: Path | None
    encoder_path: Path
    tokenizer_path: Path
    traced: bool
    output: Path | None
    save_labels: Path | None
    save_best: Path | None
    epochs: int | None
    train_images: int | None
    batch_size: int | None
    runs: int | None
    n_jobs: int | None
    device_str: str | None
    train_data_dir: Path | None


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: They contradict each other.
    """
    parser = FlagParser(__doc__.split("\n", 1)[0])
    add, files = parser.add_argument, vocabulary_files()
    packages = sorted({row.label_package for row in with_networks() if row.label_package})
    add("-family", required=True, help=f"family to sample: {', '.join(all_names(with_networks()))}")
    add("-num", type=_number_or_all, default=1000, help="number of networks, or `all` of a family that can be listed")
    add("-seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="seed of the draws")
    add("-label_table", type=shipped_path, help="CSV file of accuracies (network, accuracy)")
    add("-label", choices=(*packages, TEACHER, TRAIN), help="a PyPI package, estimates, or training")
    add("-teacher_path", type=shipped_path, help="checkpoint of the PSC predictor that estimates accuracies")
    add("-encoder_path", type=shipped_path, default=str(files.encoder), help="the teacher's encoder")
    add("-tokenizer_path", type=shipped_path, default=str(files.model), help="the teacher's SentencePiece model")
    add("-traced", action="store_true", help="NB-201: skip connections leave no identity node")
    add("-output", type=Path, help="file to write; by default the family's cache in data/")
    add("-save_labels", type=Path, help="table of the estimates, or of the trainings (data/labels/F_measured.csv)")
    add("-save_best", type=Path, help="also write the graph of the highest accuracy, as a .pkl file")
    add("-epochs", type=positive_int, help="of a training; 200 if not given")
    add("-train_images", type=positive_int, help="train on the first so many images; all if not given")
    add("-batch_size", type=positive_int, help="images per step; 256 if not given")
    add("-runs", type=positive_int, help="trainings of each network, with different seeds; 1 if not given")
    add("-n_jobs", type=positive_int, help="trainings at a time, on one device; 1 if not given")
    add("-device_str", help="cpu, cuda, cuda:1, ...; a GPU if there is one")
    add("-train_data_dir", type=Path, help="CIFAR-10; data/cifar-10-batches-py if not given, downloaded if absent")
    config = Config(**vars(parser.parse_args(argv)))
    find(config.family, with_networks())
    for wrong, message in _contradictions(config):
        if wrong:
            parser.error(message)
    return config


def _number_or_all(text: str) -> int | None:
    return None if text == "all" else positive_int(text)


def _contradictions(config: Config) -> Iterator[tuple[object, str]]:
    taught, labelled = config.label == TEACHER, config.label or config.label_table
    yield config.label and config.label_table, "-label and -label_table exclude each other"
    yield taught != bool(config.teacher_path), "-label teacher and -teacher_path need each other"
    measured = config.label == TRAIN
    yield config.save_labels and not (taught or measured), "-save_labels is for -label teacher and -label train"
    for flag in ("epochs", "train_images", "batch_size", "runs", "n_jobs", "device_str", "train_data_dir"):
        yield getattr(config, flag) and not measured, f"-{flag} is for -label train"
    yield config.save_best and not labelled, "-save_best needs -label or -label_table"
    yield config.save_best and config.save_best.suffix != ".pkl", f"-save_best {config.save_best}: must be a .pkl file"


def estimated(drawn: Iterator["Drawn"], config: Config) -> Iterator["Drawn"]:
    """The networks with the teacher's estimates."""
    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segmentation import segment_with_text
    from model_src.encoder.tokenizer import Tokenizer
    from model_src.predictor.teacher import Teacher

    encoder, tokenizer = NetworkEncoder.load(config.encoder_path), Tokenizer.load(config.tokenizer_path)
    teacher = Teacher(config.teacher_path, config.family)
    while networks := list(islice(drawn, NETWORKS_PER_LESSON)):
        graphs = [network.graph for network in networks]
        estimates = teacher.accuracies([(graph, segment_with_text(graph, encoder, tokenizer)) for graph in graphs])
        for network, estimate in zip(networks, estimates, strict=True):
            yield network._replace(accuracy=estimate)


def measured(drawn: Iterable["Drawn"], config: Config) -> Iterator["Drawn"]:
    """The networks with their mean accuracies after training; those that cannot be trained are left out."""
    from model_src.search_space.sampling import config_hash
    from model_src.training.cifar10_data import CIFAR10_DIR
    from model_src.training.labels import Measurement, Subject, measure
    from model_src.training.recipe import Execution, TrainConfig

    epochs = config.epochs or 200
    measurement = Measurement(
        TrainConfig(epochs, config.batch_size or 256, config.train_images, epochs_per_test=epochs),
        config.runs or 1,
        config.n_jobs or 1,
        config.train_data_dir or CIFAR10_DIR,
        Execution(config.device_str),
    )
    table = config.save_labels or constants.DATA_DIR / "labels" / f"{config.family}_measured.csv"
    networks = list(drawn)
    subjects = [Subject(network.graph, config_hash(network.config), network.graph_hash) for network in networks]
    accuracies = measure(subjects, measurement, table)
    if accuracies.keys().isdisjoint(network.graph_hash for network in networks):
        raise InputError(f"{table}: none of the networks could be trained; it says why")
    for network in networks:
        if network.graph_hash in accuracies:
            yield network._replace(accuracy=accuracies[network.graph_hash])


class Record:
    """What is kept of labelled networks that pass by on their way into a cache.

    Attributes:
        labels: (config, canonical hash, accuracy) of every network.
        best: The network of the highest accuracy, of equal ones the first; None if there is none.
    """

    def __init__(self):
        self.labels: list[tuple[Any, str, float]] = []
        self.best: Drawn | None = None

    def of(self, drawn: Iterable["Drawn"]) -> Iterator["Drawn"]:
        """Hand on the networks."""
        for network in drawn:
            if network.accuracy is not None:
                self.labels.append((network.config, network.graph_hash, network.accuracy))
                self.best = max(self.best or network, network, key=attrgetter("accuracy"))
            yield network


def draw(config: Config) -> Iterator["Drawn"]:
    """The networks that the flags ask for."""
    import numpy as np

    from model_src.labels.table import read_label_table
    from model_src.search_space.sampling import distinct_networks, package_labels, space_of

    labels = read_label_table(config.label_table) if config.label_table else None
    if config.label not in (None, TEACHER, TRAIN):
        labels = package_labels(config.family, config.label)
    space = space_of(config.family, config.traced)
    drawn = distinct_networks(space, np.random.default_rng(config.seed), config.num, labels)
    label = {TEACHER: estimated, TRAIN: measured}.get(config.label)
    return label(drawn, config) if label else drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)

    from tqdm import tqdm

    from model_src.comp_graph.tf_comp_graph import OP2I
    from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
    from model_src.family_data import LabelledGraph, family_path, save_family
    from model_src.labels.table import LabelRow, write_label_table
    from model_src.search_space.graph_builder import parameter_count
    from model_src.search_space.sampling import config_hash

    default = family_path(config.family)
    path = config.output or default
    if path.suffix != default.suffix:
        raise InputError(f"{path}: a cache of {config.family} is a {default.suffix} file")
    op2i, record = OP2I().build_from_file(), Record()
    networks = (
        LabelledGraph(
            network.graph,
            network.accuracy,
            compute_cg_flops(network.graph, op2i),
            parameter_count(network.graph),
            network.config,
        )
        for network in tqdm(record.of(draw(config)), total=config.num, unit="network", disable=config.label == TRAIN)
    )
    save_family(path, networks)
    if config.label == TEACHER and config.save_labels:
        rows = (LabelRow(config_hash(made_of), *rest, TEACHER, None, config.seed) for made_of, *rest in record.labels)
        write_label_table(config.save_labels, rows)
    if config.save_best:
        save_pickle(record.best.graph, config.save_best)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
