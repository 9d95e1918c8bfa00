"""Search for networks that are more accurate and cheaper than a given one."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from model_src.cli import FlagParser, loudness, run_script
from model_src.files import InputError
from model_src.places import held
from model_src.processes import TaskError
from model_src.runtime import log_to
from model_src.search import flag_groups, flags
from model_src.search.result_folder import ResultFolder

if TYPE_CHECKING:
    from model_src.search.result import SearchResult
    from model_src.training.image_data import ImageData


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        InputError: See `flags.parse_flags`.
    """
    return flags.parse_flags(FlagParser(__doc__, flag_groups.USAGE, flag_groups.EXAMPLES), argv)


def resuming(folder: ResultFolder) -> str:
    """The command that goes on with the search of a folder."""
    return f"python autogo.py -resume {shlex.quote(str(folder.path))}"


@contextmanager
def hinting(args: argparse.Namespace, folder: ResultFolder) -> Iterator[None]:
    """Say how to go on if what is done in a folder is stopped."""
    try:
        yield
    except (KeyboardInterrupt, TaskError):
        if folder.path.exists():
            also = " and the same training flags" if args.resume and flags.trains(args) else ""
            sys.stdout.write(f"Go on with: {resuming(folder)}{also}\n")
        raise


def report(args: argparse.Namespace, result: "SearchResult", folder: ResultFolder) -> None:
    """Write every file of the result folder and show the front; of a search that was stopped, tables and networks.

    Raises:
        KeyboardInterrupt, TaskError: What stopped the search.
        InputError: Files could not be written; the others are.
    """
    from model_src.search.output import write_pictures, write_results
    from model_src.search.report import frontier_table, pareto_rows, summary
    from model_src.search.reporting import segmenter

    failures = write_results(result, folder)
    sys.stdout.write(f"{frontier_table(result, pareto_rows(result))}\n{summary(result)}\n")
    result.whole()
    segments_of = None if args.no_drawings else segmenter(args.graph_encoder_path, args.tokenizer_path)
    failures += write_pictures(result, folder, args.export, segments_of, args.quiet)
    if failures:
        sys.stdout.write(f"Write the results again with: {resuming(folder)}\n")
        raise InputError(f"{failures}; the search is kept")
    folder.mark_unfinished(result.out_of_time)


def train(args: argparse.Namespace, folder: ResultFolder, data: "ImageData | None" = None) -> None:
    """Train what is left to train of the results in a folder, and of the input if asked to; the report tells of it.

    Raises:
        InputError: A file of the folder is missing or damaged, or the input is no longer the same.
    """
    from model_src.search.output import stored_search, train_results
    from model_src.search.reporting import write_page
    from model_src.search.stored import read_search

    source, networks = stored_search(folder, args.model_path)
    data = data or flags.training_data(args, source.graph)
    config, how = flags.frontier_config(args), flags.execution(args)
    with hinting(args, folder):
        train_results(networks, source, config, data, folder, how, args.from_scratch)
    if folder.report_path.exists():
        write_page(read_search(folder), draws=not args.no_drawings)


def export(args: argparse.Namespace, folder: ResultFolder) -> None:
    """Write the results of a finished search in further formats.

    Raises:
        InputError: A file of the folder is missing or damaged, or one could not be written (the others are), or no
            result can be exported.
    """
    from model_src.search.exporting import export_stored
    from model_src.search.output import stored_search

    _, networks = stored_search(folder, args.model_path)
    with log_to(folder.log_path, details=True):
        written, failures = export_stored(networks, folder, args.export, flags.calibration_images(args))
    if failures:
        raise InputError("; ".join(failures))
    if networks and not written:
        raise InputError(f"-export {' '.join(args.export)}: no result of {folder.path} can be written so")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    args = parse_args(argv)
    with loudness(args.quiet, args.verbose):
        run(args)
    return 0


def run(args: argparse.Namespace) -> None:
    """Search, report, and train the results if asked to; or only report, export or train what was searched before."""
    if args.report:
        from model_src.search.reporting import report_anew

        pages = report_anew(args.report, args.output_dir, not args.no_drawings, args.quiet)
        sys.stdout.writelines(f"Wrote {page}\n" for page in pages)
        return
    with ExitStack() as stack:
        if args.resume:
            stack.enter_context(held(args.resume))
        if flags.searches(args):
            search_and_train(args, stack)
        else:
            folder = ResultFolder(args.resume)
            if args.export:
                export(args, folder)
            if flags.trains(args):
                train(args, folder)
            sys.stdout.write(f"Results are in {folder.path}\n")


def search_and_train(args: argparse.Namespace, stack: ExitStack) -> None:
    """Search and report, and train the results if asked to; a new folder is held until the end of `stack`."""
    from model_src.search.config import workers_of
    from model_src.search.output import make_folder
    from model_src.search.running import prepare, search_into, unfinished

    start = prepare(args)
    with workers_of(start.config) as workers:
        workers.prepare()
        folder = start.folder or make_folder(args, start.source, start.rest, start.measured_by)
        if not start.folder:
            stack.enter_context(held(folder.path))
        with hinting(args, folder), log_to(folder.log_path, details=True):
            with unfinished(folder, bool(args.resume)):
                result = search_into(folder, args, start, workers)
            report(args, result, folder)
    if start.data is not None and flags.trains(args):
        train(args, folder, start.data)
    sys.stdout.write(f"Results are in {folder.path}\n")


def cli() -> None:
    """Run the installed command."""
    run_script(main)


def report_cli() -> None:
    """Run the installed command that reports on earlier searches: its arguments are those of `-report`."""
    run_script(lambda argv: main(["-report", *(sys.argv[1:] if argv is None else argv)]))


if __name__ == "__main__":
    cli()
