"""Programs that tell costs: what they get, and what becomes of those that fail, hang or talk."""

import importlib.util
import math
import os
import sys
import time

import pytest

import constants
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.files import InputError
from model_src.profiling.command import Command, parse_command
from model_src.profiling.meter import Meter
from model_src.profiling.remembered import Remembered
from tests.children import lives, wait_for

pytest.importorskip("torch")
EXAMPLE = constants.ROOT / "examples" / "energy_model.py"


def command(code, **changes):
    return Command((sys.executable, "-c", code, "{onnx}"), **changes)


def reading(cg, code, **changes):
    ((position, found),) = command(code, **changes).readings([cg])
    assert position == 0
    return found


def test_the_last_line_counts_and_no_shell_reads_the_words(tiny_graph, tmp_path):
    script = tmp_path / "two words.py"
    script.write_text(
        "import sys, onnx\nonnx.load(sys.argv[1])\nprint('loading')\nprint(len(sys.argv), sys.argv[2:])\nprint(2.5)"
    )
    words = parse_command(f"{sys.executable} '{script}' {{onnx}} '$HOME; rm *'")
    assert words[-1] == "$HOME; rm *"
    ((_, found),) = Command(words).readings([tiny_graph])
    assert (found.cost, found.runs, found.failure) == (2.5, 1, "")


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("print('fast')", "its last line 'fast' is no number from 0 on"),
        ("print(-1)", "its last line '-1' is no number from 0 on"),
        ("print('nan')", "its last line 'nan' is no number from 0 on"),
        ("pass", "its last line '' is no number"),
        ("import sys; print(1); sys.exit('out of energy')", "ended with exit code 1: out of energy"),
    ],
)
def test_what_is_no_answer_is_a_failure_with_its_reason(tiny_graph, code, failure):
    found = reading(tiny_graph, code, attempts=1)
    assert math.isnan(found.cost)
    assert failure in found.failure


def test_a_program_that_is_not_there(tiny_graph):
    ((_, found),) = Command(("/no/such/program", "{onnx}")).readings([tiny_graph])
    assert "No such file" in found.failure


def test_it_is_tried_again(tiny_graph, tmp_path):
    code = f"import os; p = {str(tmp_path / 'x')!r}; print(3) if os.path.exists(p) else open(p, 'w') and 0"
    found = reading(tiny_graph, code, attempts=2)
    assert (found.cost, found.runs) == (3.0, 2)


@pytest.mark.parametrize("hangs", [True, False])
def test_one_that_hangs_is_ended_with_all_that_it_started(tiny_graph, tmp_path, hangs):
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, time; child = subprocess.Popen(['sleep', '600']); "
        f"open({str(note)!r}, 'w').write(str(child.pid)); time.sleep({60 * hangs})"
    )
    began = time.monotonic()
    found = reading(tiny_graph, code, seconds=1.0, attempts=1)
    assert time.monotonic() - began < 30
    assert "was not done within 1 s" in found.failure
    assert wait_for(lambda: not lives(int(note.read_text())))


def test_several_at_once_come_as_they_are_done_and_are_remembered(tiny_graph, source, tmp_path):
    """Each waits until the other has begun."""
    code = (
        "import os, sys, time, onnx\n"
        f"folder = {str(tmp_path)!r}\n"
        "open(os.path.join(folder, str(os.getpid())), 'w')\n"
        "while len(os.listdir(folder)) < 2: time.sleep(0.01)\n"
        "print(len(onnx.load(sys.argv[1]).graph.node))"
    )
    program = command(code, at_once=2, seconds=60.0)
    meter = Meter(program, Remembered(program.setting))
    costs = meter({"tiny": tiny_graph, "large": source})
    assert 0 < costs["tiny"] < costs["large"]
    assert len(os.listdir(tmp_path)) == 2
    assert meter({"tiny": tiny_graph, "large": source}) == costs
    assert len(os.listdir(tmp_path)) == 2


def test_the_setting_changes_with_the_program(tmp_path):
    script = tmp_path / "model.py"
    script.write_text("print(1)")
    before = Command(("python", str(script), "{onnx}")).setting
    script.write_text("print(2)")
    assert before != Command(("python", str(script), "{onnx}")).setting
    assert before.startswith(f"python {script} '{{onnx}}'; model.py ")


@pytest.mark.parametrize("text", ["", "{onnx}", "python network.onnx", "python '{onnx}", "no_such_program {onnx}"])
def test_commands_that_cannot_be_meant_are_refused(text):
    with pytest.raises(InputError, match="-objective command"):
        parse_command(text)


def test_the_example_counts_what_it_says(tiny_graph):
    """conv 3 -> 8 of 3x3 on 8x8 without bias, relu, and an add; the last node hands on the result."""
    from model_src.comp_graph.exporters.files import network_of
    from model_src.comp_graph.exporters.onnx import to_onnx

    spec = importlib.util.spec_from_file_location("energy_model", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    found = example.picojoules(to_onnx(tiny_graph, network_of(tiny_graph)))
    passed_on = 8 * 8 * 8  # by the Identity that names the output
    assert graph_macs(tiny_graph) == 8 * 8 * 8 * 27 + 512 + 2 * 512
    macs = 8 * 8 * 8 * 27 + 512 + 512 + passed_on
    moved = 8 * 8 * 3 + 512 + 2 * 512 + 3 * 512 + 2 * 512
    assert found == pytest.approx(4.6 * macs + 5 * moved + 640 * 8 * 27)
    assert reading_of_example(tiny_graph) == pytest.approx(1e-9 * found)


def reading_of_example(cg):
    ((_, found),) = Command((sys.executable, str(EXAMPLE), "{onnx}")).readings([cg])
    return found.cost
