"""Nothing is lost: long jobs are killed and gone on with, faults are tried, a long search is watched.

Writes its tables into `docs/reliability.md`, between the marks of the parts that it ran. `make reliability` runs all of
it, which takes an hour, with one thread per process: forks of a process with threads can hang.
"""

import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import ROOT, FlagParser, random_networks, run_script
from reliability_faults import FAULTS, try_fault
from reliability_jobs import OTHERS, SEARCH, VOCABULARY, Job, make_images, search_flags
from reliability_kills import Killer, Run, Tally, warm_up
from reliability_soak import soak

PAGE = ROOT / "docs" / "reliability.md"
PARTS = ("kills", "faults", "soak")


def make_inputs(folder: Path) -> None:
    """What the jobs read: networks of a family, a vocabulary, splits, images, a finished search."""
    from model_src.family_data import LabelledGraph, family_path, save_family

    data, vocabulary, caches = (folder / name for name in ("data", "vocabulary", "caches"))
    networks = enumerate(random_networks("hiaml", 300))
    labelled = (LabelledGraph(cg, 0.9 + 1e-5 * number, 100.0) for number, cg in networks)
    save_family(family_path("hiaml", data), labelled)
    make_images(folder / "cifar")
    named = ["-data_dir", str(data)]
    cached = ["-data_family", "hiaml", *VOCABULARY, "-cache_dir", str(caches)]
    for command in (
        ("gen_vocab", ["-families", "hiaml", "-vocab_size", "200", *named, "-output_dir", str(vocabulary)]),
        ("run_psc_segment", [*cached, *named, "-vocabulary_dir", str(vocabulary)]),
        ("make_segment_predictor_cache_sa", cached),
        ("autogo", search_flags(folder / "searched", epoch=2)),
    ):
        done = Run(command, folder / "inputs.log").wait()
        if done.code:
            raise RuntimeError(f"{command}: {done.printed}")


def kill_rows(
    inputs: Path, place: Path, n_search: int, n_writes: int, n_others: int, only: list[str]
) -> Iterator[list[str]]:
    """Kill every job; a row for each kind of kills."""
    for job in (SEARCH, *OTHERS):
        if not any(part in job.name for part in only):
            continue
        killer = Killer(job, inputs, place / str(abs(hash(job.name))))
        yield _kill_row(
            job,
            f"evenly over its {killer.seconds:.2g} s of work",
            killer.after(n_search if job is SEARCH else n_others),
        )
        if job is SEARCH:
            title = f"at some of its {killer.n_writes} writes: before and after the rename, half-way"
            yield _kill_row(job, title, killer.in_writes(n_writes))


def _kill_row(job: Job, how: str, tally: Tally) -> list[str]:
    return [job.name, how, str(tally.n_kills), str(tally.n_same)]


def fault_rows(place: Path, only: list[str]) -> Iterator[list[str]]:
    """Try every fault; a row for each."""
    for fault in FAULTS:
        if any(part in fault.what for part in only):
            yield try_fault(fault, place)


def soak_rows(place: Path, iterations: int) -> Iterator[list[str]]:
    """Memory over a long search."""
    yield from soak(place, iterations)


def write_part(part: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Put a table between the marks of a part of the page."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header), *(f"| {' | '.join(row)} |" for row in rows)]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"<!-- {part} -->\n")
    _, _, after = rest.partition(f"<!-- end of {part} -->\n")
    new = "\n".join(lines)
    PAGE.write_text(f"{before}<!-- {part} -->\n{new}\n<!-- end of {part} -->\n{after}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for."""
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-parts", nargs="+", choices=PARTS, default=PARTS, help="what to do")
    add("-only", nargs="+", default=[""], help="only jobs or faults with one of these in their names; the page stays")
    add("-search_kills", type=int, default=50, help="kills of a search, evenly over its run")
    add("-write_kills", type=int, default=20, help="kills of a search in its writes")
    add("-other_kills", type=int, default=20, help="kills of each other job")
    add("-iterations", type=int, default=200, help="of the long search")
    flags = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the tests send; a shell's background ignores it
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        kills = flags.search_kills, flags.write_kills, flags.other_kills, flags.only
        parts: dict[str, tuple[tuple[str, ...], Callable[[], Iterator[list[str]]]]] = {
            "kills": (
                ("job", "killed", "kills", "same bytes in the end"),
                lambda: kill_rows(place / "inputs", place, *kills),
            ),
            "faults": (("fault", "outcome", "as it should be"), lambda: fault_rows(place, flags.only)),
            "soak": (("iteration", "memory in MB", "against iteration 20"), lambda: soak_rows(place, flags.iterations)),
        }
        warm_up()
        if "kills" in flags.parts:
            (place / "inputs").mkdir()
            make_inputs(place / "inputs")
        for part in flags.parts:
            header, rows_of = parts[part]
            rows = []
            for row in rows_of():
                rows.append(row)
                print(f"{time.monotonic() - started:6.0f} s  {' | '.join(row)}", flush=True)
            if flags.only == [""]:
                write_part(part, header, rows)
    return 0


if __name__ == "__main__":
    run_script(main)
