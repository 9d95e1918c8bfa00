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
from collections.abc import Sequence
from pathlib import Path

import constants
from model_src.cli import FlagParser, non_negative_int, positive_int, run_script
from model_src.families import find, known_families, with_networks
from model_src.files import save_pickle
from model_src.labels.table import TEACHER, TRAIN, write_label_table
from model_src.places import check_writable, tell_written
from model_src.training.flags import add_label_flags, add_measurement_flags, check_label_flags, label_source


def parse_args(argv: Sequence[str] | None) -> Namespace:
    """Read the flags.

    Raises:
        InputError: They contradict each other.
    """
    parser = FlagParser(__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("-family", required=True, help=f"family to sample: {known_families()}")
    add("-num", type=_number_or_all, default=1000, help="number of networks, or `all` of a family that can be listed")
    add("-seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="seed of the draws")
    add_label_flags(parser)
    add("-traced", action="store_true", help="NB-201: skip connections leave no identity node")
    add("-sharded", action="store_true", help="write a folder of shards, as is done with -num above 20000")
    add("-output", type=Path, help="file to write; by default the family's cache in data/")
    add("-save_labels", type=Path, help="table of the estimates, or of the trainings (data/labels/F_measured.csv)")
    add("-save_best", type=Path, help="also write the graph of the highest accuracy, as a .pkl file")
    add_measurement_flags(parser)
    args = parser.parse_args(argv)
    find(args.family, with_networks())
    check_label_flags(parser, args)
    return args


def _number_or_all(text: str) -> int | None:
    return None if text == "all" else positive_int(text)


def _files_read(args: Namespace) -> dict[str, Path]:
    """Flag -> file that accuracies come from."""
    names = ["label_table"] if args.label_table else []
    names += ["teacher_path", "encoder_path", "tokenizer_path"] if args.label == TEACHER else []
    return {name: Path(getattr(args, name)) for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    args = parse_args(argv)
    from tqdm import tqdm

    from model_src.family_data import cache_for, save_family
    from model_src.family_data.sampled import Record, labelled_graphs
    from model_src.family_data.shards import INDEX, place_for, save_shards
    from model_src.kept import KeptJob
    from model_src.labels.measured import table_of
    from model_src.training.sources import labelled_networks

    path, is_folder = place_for(cache_for(args.family, args.output), args.sharded, args.num)
    record = Record(TEACHER, args.seed)
    check_writable(path / INDEX if is_folder else path, args.save_labels, args.save_best)
    flags = {name: getattr(args, name) for name in ("family", "num", "seed", "label", "traced")}
    with KeptJob(path, flags, _files_read(args)) as job:
        networks = labelled_networks(args.family, args.num, args.seed, args.traced, label_source(args), job)
        bar = tqdm(networks, total=args.num, unit="network", disable=args.label == TRAIN)
        save = save_shards if is_folder else save_family
        save(path, labelled_graphs(record.of(bar)))
        if args.label == TEACHER and args.save_labels:
            write_label_table(args.save_labels, record.rows)
        if args.save_best and record.best:
            save_pickle(record.best.graph, args.save_best)
    trainings = table_of(args.family) if args.label == TRAIN else None
    tell_written(path, args.save_labels or trainings, args.save_best if record.best else None)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
