"""The benchmark of the search, and what it must at least find."""

from dataclasses import replace
from statistics import mean, median

import pytest

from benchmarks.published_defects import DEFECTS, FIXED
from benchmarks.search_quality import INPUTS, Judge, Setting, Size, hypervolume, outcome_of, records
from model_src.encoder.segment_db import SegmentDatabase


@pytest.fixture(scope="module")
def settings(reference):
    database = SegmentDatabase.open(reference / "database" / "combined_segment_DB_res_ratio.pkl")
    return {family: Setting(reference, family, database) for family in INPUTS}


def test_hypervolume():
    worst = (0.0, 10.0)
    assert hypervolume([], worst) == hypervolume([(-1.0, 5.0), (2.0, 11.0)], worst) == 0
    assert hypervolume([(2.0, 6.0)], worst) == 8
    assert hypervolume([(2.0, 6.0), (1.0, 3.0), (1.0, 5.0), (0.5, 4.0)], worst) == 7 + 4


@pytest.mark.parametrize("defect", [FIXED, *DEFECTS], ids=lambda defect: defect.name.split()[0])
def test_every_defect_can_be_switched_on_and_off(settings, defect, request):
    if defect.name.startswith(("D-01", "D-11")):  # the check at a search's end notices them
        request.getfixturevalue("made_up_children")
    setting = replace(settings["two_path"], size=Size(2, 2, 3, 6), unit="op" if "op" in defect.name else "segment")
    outcome = setting.search(defect, seed=0)
    assert outcome.n_accepted >= len(outcome.front) > 0
    assert setting.search(FIXED, seed=0).n_accepted == setting.search(FIXED, seed=0).n_accepted


@pytest.mark.slow
def test_fronts_are_valid_and_on_the_whole_better_than_recorded_ones(reference, settings, agreement):
    """Medians of eight searches against those of the three recorded ones, at equal settings."""
    valid, ratios = {}, []
    for family, setting in settings.items():
        judge = Judge(reference, setting.source)
        outcomes = [setting.search(FIXED, seed) for seed in range(8)]
        for seed, outcome in enumerate(outcomes):
            found = outcome.front + outcome.accepted
            valid[family, seed] = judge.n_valid(found) == len(found) > 0
        published = [outcome_of(record) for record in records(reference, family)]
        ours, theirs = (
            median(judge.quality(judge.points(outcome.front)) for outcome in each) for each in (outcomes, published)
        )
        ratios.append(ours / theirs)
    agreement("searches with valid networks only", valid)
    assert mean(ratios) >= 1
