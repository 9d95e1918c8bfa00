"""The faults that were tried on the first version, what becomes of them now, and the tests that try them again."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from harness import ROOT


class Fault(NamedTuple):
    """A fault.

    Attributes:
        what: What is done.
        now: What becomes of it.
        tests: What tries it, below `tests/`, as pytest takes it.
    """

    what: str
    now: str
    tests: tuple[str, ...]


def _of(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{file}::{name}" for name in names)


FAULTS = (
    Fault(
        "H1: searches started in the same second",
        "a folder for each",
        _of("search/test_result_folder.py", "test_a_name_that_is_taken_gets_a_suffix"),
    ),
    Fault(
        "H2: a worker process is killed",
        "its task is done again; no byte differs",
        _of("test_autogo.py", "test_killed_workers_change_no_byte"),
    ),
    Fault(
        "H3: the parent gets SIGTERM, SIGHUP, SIGINT or SIGKILL",
        "workers end with it; tables and networks are written (not at SIGKILL), exit 143, 129, 130",
        (
            *_of("test_processes.py", "test_processes_end_with_their_parent"),
            *_of("test_autogo_resume.py", "test_a_signal_keeps_what_was_found_and_says_how_to_go_on"),
        ),
    ),
    Fault(
        "H4: a write fails: full disk, read-only folder, file for a folder, name too long or no text",
        "one line, exit 2; other files are written; places are checked first",
        ("test_writing.py",),
    ),
    Fault(
        "M7: a stop or a failure while results are written",
        "the table comes first; `-resume` writes the rest",
        (
            *_of("search/test_output.py", "test_the_table_is_there_before_anything_that_can_fail"),
            *_of("test_writing.py", "test_one_file_that_fails_does_not_keep_the_others_from_being_written"),
        ),
    ),
    Fault(
        "M8: stdout or stderr is closed, full, or a pipe that ends",
        "nothing is stopped",
        _of("test_writing.py", "test_output_that_nobody_can_take_stops_nothing"),
    ),
    Fault(
        "M9: a worker is stopped (SIGSTOP)",
        "ended at a limit that grows with the work; its task is done again",
        (
            *_of("test_processes.py", "test_a_stopped_process_is_ended_at_its_limit_and_its_task_done_again"),
            *_of("test_autogo.py", "test_a_stopped_worker_is_ended_at_its_limit_and_changes_no_byte"),
            *_of("training/test_cost.py", "test_patience_grows_with_the_work"),
        ),
    ),
    Fault(
        "a search, a training or another long job is stopped",
        "goes on to the same bytes; other flags are refused by name",
        (
            *("search/test_journal.py", "test_kept.py", "test_stopped_jobs.py"),
            *_of("test_autogo_resume.py", "test_a_killed_search_goes_on_to_the_same_bytes"),
            *_of("test_autogo_training.py", "test_a_killed_training_goes_on"),
        ),
    ),
    Fault(
        "a predictor's training is resumed with another seed, batch size, rate or schedule",
        "refused by name",
        _of("predictor/training/test_loop.py", "test_going_on_needs_the_same_training"),
    ),
    Fault(
        "a hard kill leaves temporary files",
        "swept at the next start; what is being written stays",
        _of("test_writing.py", "test_what_killed_runs_left_is_swept_and_what_is_being_written_stays"),
    ),
    Fault(
        "broken graphs in graph files, family caches and databases",
        "refused; file, node and rule are named",
        ("comp_graph/test_validate.py",),
    ),
    Fault(
        "`-input_h`, `-input_w`, `-input_c` that differ from the graph's",
        "applied before the search, or refused with both values",
        ("search/test_inputs.py",),
    ),
    Fault(
        "kernels above 7; nothing to make smaller",
        "seen as 7 with one warning; one line, no folder",
        (
            *_of("predictor/data/test_packing.py", "test_large_kernels_are_seen_as_the_largest_known"),
            *_of("search/test_session.py", "test_a_network_without_cost_is_refused"),
            *_of("test_autogo.py", "test_a_search_that_cannot_begin_leaves_no_folder"),
        ),
    ),
    Fault(
        "numbers out of range, NaN and infinities in flags; a device without data",
        "one line, exit 2",
        (
            *_of("test_cli.py", "test_every_number_has_a_range"),
            *_of("test_runtime.py", "test_unknown_devices_are_refused_in_one_line"),
            *_of("encoder/test_tokenizer.py", "test_impossible_sizes_say_what_is_possible"),
        ),
    ),
    Fault(
        "`-resume` folders: another network as a rank, foreign paths and flags, places of downloads",
        "refused; nothing is downloaded to where a file says",
        _of(
            "test_autogo_training.py",
            "test_what_cannot_go_on_is_one_line",
            "test_a_file_does_not_say_where_images_are_downloaded_to",
        ),
    ),
    Fault(
        "`-output_dir` alone; the folder is moved",
        "all that `-resume` needs is in it",
        _of("search/test_result_folder.py", "test_parameters_are_stored_twice_and_copied"),
    ),
    Fault(
        "two runs go on with one folder, or with one long job, at once",
        "the second is refused in one line",
        (
            *_of("test_autogo_resume.py", "test_two_do_not_work_in_one_folder"),
            *_of("test_kept.py", "test_two_runs_at_once_are_refused"),
        ),
    ),
    Fault(
        "what training needs is missing, or the network takes other images",
        "told before the search",
        (
            *_of("test_autogo_training.py", "test_missing_images_show_before_the_search"),
            *_of("training/test_image_folder.py", "test_an_input_without_such_an_end_shows_before_the_search"),
        ),
    ),
    Fault(
        "a rate at which training diverges",
        "ends with the reason",
        _of("training/test_loop.py", "test_a_training_that_diverges_gives_the_reason"),
    ),
    Fault(
        "an accuracy beyond 100 %",
        "clipped",
        _of("search/test_rescoring.py", "test_accuracies_are_clipped"),
    ),
    Fault(
        "files that break their reader: depth, sizes, loops, what is not what it says; pipes and devices",
        "refused in one line, in time and memory of the file's size",
        ("test_hostile_files.py", "fuzz/test_fuzz.py"),
    ),
    Fault(
        "checkpoints with odd configurations, scales or weights",
        "refused in one line",
        _of(
            "predictor/test_checkpoint.py",
            "test_unusable_contents_are_refused_in_one_line",
            "test_weights_are_real_numbers",
        ),
    ),
    Fault(
        "the umask is changed while threads draw",
        "it is never touched",
        _of("test_files.py", "test_files_get_the_usual_permissions_and_the_mask_for_them_is_left_alone"),
    ),
    Fault(
        "two places of a search share a random stream",
        "every place has its own",
        (
            *_of("test_runtime.py", "test_every_place_has_a_random_stream_of_its_own"),
            *_of("search/test_session.py", "test_no_two_random_streams_of_a_search_are_the_same"),
        ),
    ),
    Fault(
        "HiGHS runs without a limit",
        "every call has limits",
        _of("propagation/test_milp.py", "test_every_call_of_a_solver_has_limits_and_those_reached_are_counted"),
    ),
    Fault(
        "a mutator that is used for another input",
        "what it did before does not matter",
        _of("search/test_mutator.py", "test_what_a_mutator_did_before_does_not_matter"),
    ),
    Fault(
        "`use_bias: False` given or absent",
        "the same hash",
        _of("comp_graph/test_graph_ops.py", "test_hash_does_not_see_whether_a_missing_bias_is_recorded"),
    ),
    Fault(
        "`make setup` with an old Python",
        "refused in one line",
        _of("test_makefile.py", "test_setup_says_that_python_is_too_old"),
    ),
)


def try_fault(fault: Fault, place: Path) -> list[str]:
    """Run the tests of a fault; a row for the table."""
    tests = [str(ROOT / "tests" / test) for test in fault.tests]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-m",
        "slow or not slow",
        f"--basetemp={place / 'tests'}",
        *tests,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-3000:], flush=True)
    return [fault.what, fault.now, "yes" if not done.returncode else "**no**"]
