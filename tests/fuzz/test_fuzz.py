"""The loaders against well-formed files, files that failed once, and a short run of files made by chance."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz import foreign
from tests.fuzz.cases import check, files, outcome
from tests.fuzz.run import CORPUS
from tests.fuzz.targets import targets

TARGETS = targets()
FAST = [name for name in TARGETS if name not in foreign.NAMES]
EXAMPLES = 25
FAILED_ONCE = sorted(CORPUS.glob("*/*.bin"))


def slow(names, function=lambda name: name):
    """Parameters, of which those that need TensorFlow take minutes."""
    return [pytest.param(name, marks=[pytest.mark.slow] if function(name) in foreign.NAMES else []) for name in names]


def file_of(name, folder):
    suffix = TARGETS[name].suffix
    return folder / (f"case{suffix}" if suffix.startswith(".") else suffix)


@pytest.mark.filterwarnings("ignore")  # of Keras
@pytest.mark.parametrize("name", slow(TARGETS))
def test_well_formed_files_are_accepted(name, tmp_path):
    for _, _, content in TARGETS[name].seeds:
        path = file_of(name, tmp_path)
        path.write_bytes(content)
        assert outcome(TARGETS[name], path) == "accepted"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", slow(FAILED_ONCE, lambda path: path.parent.name), ids=lambda path: path.stem)
def test_files_that_failed_once(path, tmp_path):
    name = path.parent.name
    case = file_of(name, tmp_path)
    case.write_bytes(path.read_bytes())
    outcome(TARGETS[name], case)


@pytest.mark.parametrize("name", FAST)
def test_files_made_by_chance_are_refused_or_sound(name, tmp_path):
    counts = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(files(TARGETS[name]).filter(lambda case: case is not None))
    def run(case):
        check(TARGETS[name], case, file_of(name, tmp_path), counts)

    run()
    assert counts["accepted"] + counts["refused"] > EXAMPLES // 2
