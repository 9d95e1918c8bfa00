"""Searches from the known networks of `architectures/samples/`, two stages each, and what judges say of two results.

One search after another; a search that is there is not repeated, one that was stopped goes on. Of each the first result
becomes `found_1` beside its input, and `found_2` the first one that costs at least a tenth of the input less than that,
or the cheapest; with what is new in it as a picture. The tables of `docs/known_networks.md` are printed.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import autogo  # noqa: E402
import constants  # noqa: E402
from benchmarks.judge import GNN, PSC, Judges  # noqa: E402
from model_src.cli import FlagParser, run_script  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.search.result_folder import ResultFolder  # noqa: E402
from model_src.search.run import with_run_normalisers  # noqa: E402
from model_src.search.stored import Cells, StoredNetwork, StoredSearch, read_search  # noqa: E402

SAMPLES = ROOT / "architectures" / "samples"
LESS = 0.1  # of the input's FLOPs


@dataclass(frozen=True)
class Sample:
    """A network to start from.

    Attributes:
        file: Below the folder of samples.
        title: Its name.
        family: Whose operations a mutation may use.
        growth: Results cost at most so many percent more than the input,
        decrease: and at most so many percent less.
        paper: GFLOPs in the paper: the input's, and those of what was found.
    """

    file: str
    title: str
    family: str
    growth: int = 10
    decrease: int = 30
    paper: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Its name in names of files."""
        return Path(self.file).stem

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C) of its input."""
        return load_cg(SAMPLES / self.file).input_shape[1:]

    @property
    def flags(self) -> list[str]:
        """The command line of its search, but for the place of its results."""
        h, w, c = self.shape
        flags = {
            "model_path": f"architectures/samples/{self.file}",
            "model_family": self.family,
            "predictor_path": "saved_models/ensemble",
            "predictor_type": "PSC_predictor",
            **{"input_h": h, "input_w": w, "input_c": c, "epoch": 5},
            **{"min_flops_decrease_percent": -self.growth, "max_flops_decrease_percent": self.decrease},
        }
        return [str(word) for name, value in flags.items() for word in (f"-{name}", value)]


ROWS = (
    Sample("resnet50/resnet50.pkl", "ResNet-50", "generic_noDW", paper=(6.29, 6.71, 5.88)),
    Sample("resnet101/resnet101.pkl", "ResNet-101", "generic_noDW", paper=(13.76, 13.66, 13.35)),
    Sample("vgg/vgg16_bn.pkl", "VGG-16-BN", "generic", paper=(30.81, 24.34)),
    Sample("edsr/edsr.pkl", "EDSR body", "edsr", paper=(141, 118, 110, 105)),
    Sample("fsrcnn/fsrcnn_m3.pkl", "FSRCNN, m = 3", "generic_noDW", decrease=50),
    Sample("fsrcnn/fsrcnn_m4.pkl", "FSRCNN, m = 4", "generic_noDW", decrease=50),
    Sample("unet/unet.pkl", "U-Net", "generic_noDW"),
)


class Found(NamedTuple):
    """A search and the two results that were chosen."""

    sample: Sample
    search: StoredSearch
    chosen: list[StoredNetwork]


def searched(sample: Sample, parent: Path) -> StoredSearch:
    """The search of a network: made, gone on with, or read where it is finished."""
    place = parent / sample.name
    folders = sorted(place.iterdir()) if place.exists() else []
    if not folders:
        autogo.main([*sample.flags, "-output_dir", str(place)])
    elif ResultFolder(folders[0]).is_unfinished:
        autogo.main(["-resume", str(folders[0])])
    return read_search(ResultFolder(next(place.iterdir())))


def choose(search: StoredSearch) -> list[StoredNetwork]:
    """Two results, or as many as there are: the first, and the first that is clearly cheaper, or the cheapest."""
    if len(search.results) < 2:
        return search.results
    first, *others = search.results
    most = _mflops(first.row) - LESS * _mflops(search.source_row)
    cheaper = [one for one in others if _mflops(one.row) <= most]
    return [first, cheaper[0] if cheaper else min(others, key=lambda one: _mflops(one.row))]


def keep(found: Found) -> None:
    """Copy the chosen results and their pictures beside their input."""
    folder = (SAMPLES / found.sample.file).parent
    several = sum(Path(row.file).parent == Path(found.sample.file).parent for row in ROWS) > 1
    prefix = f"{found.sample.name}_" if several else ""
    for number, one in enumerate(found.chosen, start=1):
        shutil.copyfile(one.path, folder / f"{prefix}found_{number}.pkl")
        shutil.copyfile(found.search.folder.mutant_picture(one.rank), folder / f"{prefix}found_{number}.png")


def _mflops(row: Cells) -> float:
    return float(row["mflops"])


def costs(rows: Sequence[Found]) -> Iterator[str]:
    """A table of FLOPs, beside the paper's."""
    yield "| network | family | window | input, GFLOPs | `found_1` | `found_2` | paper: input, found | results |"
    yield "|" + "---|" * 8
    for sample, search, chosen in rows:
        before = _mflops(search.source_row)
        cells = [f"{_mflops(one.row) / 1e3:.3f} ({100 * _mflops(one.row) / before - 100:+.1f} %)" for one in chosen]
        paper = ", ".join(f"{value:g}" for value in sample.paper) or "-"
        window = f"+{sample.growth} to -{sample.decrease} %"
        head = [sample.title, f"`{sample.family}`", window, f"{before / 1e3:.3f}"]
        yield _line([*head, *cells, *["-"] * (2 - len(cells)), paper, str(len(search.results))])


def verdicts(rows: Sequence[Found], judges: Judges) -> Iterator[str]:
    """A table of gains over the input: claimed by the search, and by predictors that it did not use."""
    yield "| network | result | rank | swaps | parameters | claimed | published PSC | published GNN |"
    yield "|" + "---|" * 8
    for sample, search, chosen in rows:
        graphs = [with_run_normalisers(cg) for cg in (load_cg(SAMPLES / sample.file), *(one.graph() for one in chosen))]
        scores = judges.scores(graphs, [], sample.family)
        for number, one in enumerate(chosen, start=1):
            claim = float(one.row["score"]) - float(search.source_row["score"])
            gains = [f"{scores[judge][number] - scores[judge][0]:+.3f}" for judge in (PSC, GNN)]
            costs = [str(one.rank), one.row["swaps"], f"{int(float(one.row['params'])):,}"]
            yield _line(
                [sample.title, f"`found_{number}`", *costs, f"{claim:+.3f} ± {float(one.row['score_sd']):.2f}", *gains]
            )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    parser = FlagParser(__doc__)
    add = parser.add_argument
    names = [row.name for row in ROWS]
    add("-networks", nargs="+", choices=names, default=names, help="networks to search from")
    add("-output_dir", type=Path, default=constants.OUTPUTS_DIR / "known_networks", help="folder of the searches")
    add("-reference", type=Path, default=ROOT.parent / "shared" / "reference", help="folder of the published files")
    args = parser.parse_args(argv)
    judges = Judges(args.reference)
    rows = []
    for sample in ROWS:
        if sample.name in args.networks:
            search = searched(sample, args.output_dir)
            rows.append(Found(sample, search, choose(search)))
            keep(rows[-1])
    for table in (costs(rows), verdicts(rows, judges)):
        sys.stdout.write("\n".join(["", *table]) + "\n")
    return 0


if __name__ == "__main__":
    run_script(main)
