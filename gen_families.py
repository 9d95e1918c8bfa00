"""Sample networks of a family and write them as a cache in the published form.

The published caches cannot always be downloaded; this makes stand-ins that the other scripts read. No two networks of
a cache are the same graph. With a table of accuracies, networks that it does not know are left out. Such a table is a
CSV file (`.csv` or `.csv.gz`) with a header: first column the NAS-Bench-201 architecture string, the NAS-Bench-101 cell
hash or the canonical hash of the graph; last column with `acc` in its name the accuracy. If any accuracy of the column
exceeds 1, the whole column is taken as percent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, non_negative_int, positive_int, run_script
from model_src.files import InputError

FAMILIES = ("hiaml", "inception", "nb101", "nb101_5k", "nb201", "nb201c10", "two_path")
LABEL_PACKAGE = "analog-nasbench"


@dataclass(frozen=True)
class Config:
    """The flags; `num` None means every network, `output` None the family's cache in data/."""

    family: str
    num: int | None
    seed: int
    label_table: Path | None
    label: str | None
    keep_identity: bool
    output: Path | None


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: They contradict each other.
    """
    parser = FlagParser(__doc__.split("\n", 1)[0])
    parser.add_argument("-family", required=True, choices=FAMILIES, help="family to sample")
    parser.add_argument("-num", type=_number_or_all, default=1000, help="number of networks, or `all` (NB-201 only)")
    parser.add_argument("-seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="seed of the draws")
    parser.add_argument("-label_table", type=Path, help="CSV file of measured accuracies (network key, accuracy)")
    parser.add_argument("-label", choices=(LABEL_PACKAGE,), help="measured accuracies of a PyPI package (NB-201 only)")
    parser.add_argument("-traced", action="store_true", help="NB-201: skip connections leave no identity node")
    parser.add_argument("-output", type=Path, help="file to write; by default the family's cache in data/")
    flags = parser.parse_args(argv)
    if flags.label and flags.label_table:
        parser.error("-label and -label_table exclude each other")
    for flag, given in (
        ("-num all", flags.num is None),
        (f"-label {flags.label}", flags.label),
        ("-traced", flags.traced),
    ):
        if given and not flags.family.startswith("nb201"):
            parser.error(f"{flag} is for NB-201, not for {flags.family}")
    return Config(flags.family, flags.num, flags.seed, flags.label_table, flags.label, not flags.traced, flags.output)


def _number_or_all(text: str) -> int | None:
    return None if text == "all" else positive_int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)

    import numpy as np
    from tqdm import tqdm

    from model_src.comp_graph.tf_comp_graph import OP2I
    from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
    from model_src.family_data import LabelledGraph, family_path, save_family
    from model_src.search_space.graph_builder import parameter_count
    from model_src.search_space.labels import read_analog_nasbench, read_label_table
    from model_src.search_space.sampling import distinct_networks, space_of

    default = family_path(config.family)
    path = config.output or default
    if path.suffix != default.suffix:
        raise InputError(f"{path}: a cache of {config.family} is a {default.suffix} file")
    op2i = OP2I().build_from_file()
    labels = read_label_table(config.label_table) if config.label_table else None
    if config.label:
        labels = read_analog_nasbench()
    space = space_of(config.family, config.keep_identity)
    drawn = distinct_networks(space, np.random.default_rng(config.seed), config.num, labels)
    networks = (
        LabelledGraph(graph, accuracy, compute_cg_flops(graph, op2i), parameter_count(graph), network_config)
        for graph, network_config, accuracy in tqdm(drawn, total=config.num, unit="network")
    )
    save_family(path, networks)
    return 0


if __name__ == "__main__":
    run_script(main)
