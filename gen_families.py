"""Sample networks of a family and write them as a cache in the published form.

The published caches cannot always be downloaded; this makes stand-ins that the other scripts read. No two networks of
a cache are the same graph. Accuracies come from a table, from a package, from a teacher or from training; networks that
a table does not know are left out. A table is a CSV file (`.csv` or `.csv.gz`) with a header: first column the network
(the NAS-Bench-201 architecture string, the NAS-Bench-101 cell hash, or for every family the hash of its config or the
canonical hash of its graph), last column with `acc` in its name the accuracy. If any accuracy of the column exceeds 1,
the whole column is taken as percent. A teacher is a PSC predictor; its estimates can be kept as such a table. Training
keeps one by itself: a row per training, written when it ends, so that a rerun goes on where the last one stopped.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import constants
from model_src.cli import FlagParser, non_negative_int, positive_int, run_script, shipped_path
from model_src.encoder.paths import vocabulary_files
from model_src.families import find, known_families, label_keys, label_packages, with_networks
from model_src.files import save_pickle
from model_src.training.flags import MEASUREMENT_FLAGS, add_measurement_flags, measurement

if TYPE_CHECKING:
    from model_src.search_space.sampling import Drawn
    from model_src.training.labels import Measurement

TEACHER, TRAIN = "teacher", "train"


@dataclass(frozen=True)
class Config:
    """What the user asked for; `num` None means every network, `teacher` is a checkpoint, encoder and tokenizer."""

    family: str
    num: int | None
    seed: int
    traced: bool
    label_table: Path | None
    label: str | None
    teacher: tuple[Path, Path, Path]
    measurement: "Measurement"
    output: Path | None
    save_labels: Path | None
    save_best: Path | None


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: They contradict each other.
    """
    parser = FlagParser(__doc__.split("\n", 1)[0])
    add, files = parser.add_argument, vocabulary_files()
    add("-family", required=True, help=f"family to sample: {known_families()}")
    add("-num", type=_number_or_all, default=1000, help="number of networks, or `all` of a family that can be listed")
    add("-seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="seed of the draws")
    add("-label_table", type=shipped_path, help=f"CSV file of accuracies by {label_keys()}, or hash")
    add("-label", choices=(*label_packages(), TEACHER, TRAIN), help="a PyPI package, estimates, or training")
    add("-teacher_path", type=shipped_path, help="checkpoint of the PSC predictor that estimates accuracies")
    add("-encoder_path", type=shipped_path, default=str(files.encoder), help="the teacher's encoder")
    add("-tokenizer_path", type=shipped_path, default=str(files.model), help="the teacher's SentencePiece model")
    add("-traced", action="store_true", help="NB-201: skip connections leave no identity node")
    add("-output", type=Path, help="file to write; by default the family's cache in data/")
    add("-save_labels", type=Path, help="table of the estimates, or of the trainings (data/labels/F_measured.csv)")
    add("-save_best", type=Path, help="also write the graph of the highest accuracy, as a .pkl file")
    add_measurement_flags(parser)
    args = parser.parse_args(argv)
    find(args.family, with_networks())
    for wrong, message in _contradictions(args):
        if wrong:
            parser.error(message)
    return Config(
        args.family,
        args.num,
        args.seed,
        args.traced,
        args.label_table,
        args.label,
        (args.teacher_path, args.encoder_path, args.tokenizer_path),
        measurement(args),
        args.output,
        args.save_labels,
        args.save_best,
    )


def _number_or_all(text: str) -> int | None:
    return None if text == "all" else positive_int(text)


def _contradictions(args: Namespace) -> Iterator[tuple[object, str]]:
    taught, measured = args.label == TEACHER, args.label == TRAIN
    yield args.label and args.label_table, "-label and -label_table exclude each other"
    yield taught != bool(args.teacher_path), "-label teacher and -teacher_path need each other"
    yield args.save_labels and not (taught or measured), "-save_labels is for -label teacher and -label train"
    for flag in MEASUREMENT_FLAGS:
        yield getattr(args, flag) and not measured, f"-{flag} is for -label train"
    yield args.save_best and not (args.label or args.label_table), "-save_best needs -label or -label_table"
    yield args.save_best and args.save_best.suffix != ".pkl", f"-save_best {args.save_best}: must be a .pkl file"


def drawn(config: Config) -> Iterator["Drawn"]:
    """The networks that the flags ask for, with their accuracies."""
    import numpy as np

    from model_src.labels.table import read_label_table
    from model_src.search_space.sampling import distinct_networks, package_labels, space_of

    labels = read_label_table(config.label_table) if config.label_table else None
    if config.label in label_packages():
        labels = package_labels(config.family, config.label)
    space = space_of(config.family, config.traced)
    networks = distinct_networks(space, np.random.default_rng(config.seed), config.num, labels)
    if config.label == TEACHER:
        from model_src.predictor.teacher import estimated

        return estimated(networks, config.family, *config.teacher)
    if config.label == TRAIN:
        from model_src.labels.measured import table_of
        from model_src.training.labels import measured

        return measured(networks, config.measurement, config.save_labels or table_of(config.family))
    return networks


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from tqdm import tqdm

    from model_src.family_data import cache_for, save_family
    from model_src.family_data.sampled import Record, labelled_graphs
    from model_src.labels.table import write_label_table

    path, record = cache_for(config.family, config.output), Record(TEACHER, config.seed)
    networks = tqdm(drawn(config), total=config.num, unit="network", disable=config.label == TRAIN)
    save_family(path, labelled_graphs(record.of(networks)))
    if config.label == TEACHER and config.save_labels:
        write_label_table(config.save_labels, record.rows)
    if config.save_best and record.best:
        save_pickle(record.best.graph, config.save_best)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
