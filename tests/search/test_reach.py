"""What single swaps reach is told before a search: as far as they do, and whether the window is missed."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import constants
from model_src.comp_graph.load import load_cg
from model_src.search.config import SearchConfig
from model_src.search.objectives import FLOPS, PARAMS, PEAK_MEMORY, Goal, Window
from model_src.search.reach import Reach, reach
from model_src.search.run import with_run_normalisers
from model_src.search.session import search
from model_src.search.workers import Workers
from tests.search.conftest import TinyFactory

CONFIG = SearchConfig("nb201", epoch=1, top_k=1, rescore_per_iter=0)


def test_the_range_is_that_of_the_networks_that_swaps_make():
    source = with_run_normalisers(load_cg(constants.ROOT / "architectures" / "hiaml_best.pkl"))
    mutator = TinyFactory(unit="op", family="hiaml")()
    windows = tuple(Window(one, one.measure(source), -100, 100) for one in (PARAMS, PEAK_MEMORY, FLOPS))
    params, peak, flops = reach(mutator, source, Goal(0.0, windows), np.random.default_rng(0))
    assert peak is None  # only the built network tells
    costs = []
    for candidate in mutator.candidates(source, np.random.default_rng(0)):
        place = candidate.place.segment
        for target in mutator.fitting(place.input_shapes, place.output_shapes):
            child = mutator.attach(candidate, target, np.random.default_rng(0)).apply(source, "x")
            if child.n_nodes == source.n_nodes:  # no merge disappeared
                costs.append((PARAMS.measure(child), FLOPS.measure(child)))
    lows, highs = zip(*((min(column), max(column)) for column in zip(*costs, strict=True)), strict=True)
    assert (params.low, params.high) == (lows[0], highs[0])
    assert (flops.low, flops.high) == (pytest.approx(lows[1]), pytest.approx(highs[1]))
    assert flops.low < FLOPS.measure(source) < flops.high


@pytest.mark.parametrize(
    ("low", "high", "limits", "missed"),
    [
        (90.0, 110.0, (0, 20), False),
        (90.0, 110.0, (10, 20), True),
        (90.0, 110.0, (-20, -10), True),
        (90.0, 110.0, (-20, -9), False),
    ],
)
def test_a_window_that_single_swaps_miss_is_told(low, high, limits, missed):
    text = Reach(low, high).told(Window(FLOPS, 100.0, *limits))
    assert text.startswith("single swaps of equal sizes reach 90 to 110 MFLOPs (-10.0 to +10.0 %)")
    assert ("outside of the window" in text) == missed


def test_a_search_says_so_before_it_begins(source, caplog):
    caplog.set_level(logging.INFO)
    with Workers(TinyFactory(), 1) as workers:
        search(source, replace(CONFIG, min_decrease_percent=98, max_decrease_percent=99), workers=workers)
    (line,) = (record.getMessage() for record in caplog.records if "single swaps" in record.getMessage())
    assert line.startswith("FLOPs: the input has 312.768 MFLOPs")
    assert "which is outside of the window" in line
