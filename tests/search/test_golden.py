"""Small searches with the shipped files, pinned.

A search is a chain of draws, cuts, sizes, scores and hashes. A small mistake in it, such as another order, a bound
that is off by one or a neighbour that is forgotten, breaks nothing and yet changes what is found: these figures notice
it. Hashes and counts are exact, scores hold to 1e-6.

They may be pinned anew by a commit that means to change results, and says so in its message, or that ships other
predictors, vocabularies, databases or input networks; never because a change that was to leave the results alone moved
them.
"""

import pytest

from constants import ROOT
from model_src.comp_graph.load import load_cg
from model_src.search.config import SearchConfig
from model_src.search.session import search

# Family, unit, predictor, iterations -> (networks scored; accepted, with repeats and the input; distinct ones; segments
# made to fit; segments that could not be), and score, MFLOPs, iteration and hash of the input and of the front.
PINNED = {
    ("nb201", "segment", "PSC_predictor", 3): (
        (487, 222, 137, 208, 43),
        [
            (0.919425, 312.767892, 0, "1cd7d27c915d77db271aa0995e7baad7"),
            (1.088394, 303.199636, 1, "0d50cd22a88734ed142edf1df7c14b20"),
            (1.072299, 299.595156, 3, "47708c2da7ae00f930a761db222b52fd"),
            (0.996731, 295.630228, 3, "15963d926392dfc3c7ee5223e507a93b"),
            (0.965595, 293.877140, 3, "2f587fb00d5b536441d480b48156017c"),
        ],
    ),
    ("inception", "segment", "PSC_predictor", 2): (
        (130, 61, 41, 60, 134),
        [
            (1.867869, 428.051476, 0, "0c35ed419419c378c06ab65bfe8c0468"),
            (2.308302, 430.902292, 1, "db519153ffce7c75cdfbe3cc01df64fc"),
            (2.283078, 428.055572, 2, "36e3e256abbd4a99172de98990bc6f89"),
            (2.210960, 428.021780, 2, "e706934a8f55b64edcf3e323cf721357"),
            (2.194898, 427.658260, 2, "8e797622346649ca117a693514ab716a"),
            (2.014911, 422.579220, 2, "3a015a8fd1f3bf750f833251b44d4e35"),
        ],
    ),
    ("two_path", "segment", "GNN", 2): (
        (235, 209, 171, 117, 63),
        [
            (0.906226, 157.453332, 0, "d910e271b563130670dffebad550347f"),
            (0.917254, 162.165780, 2, "35fbb81cb4922eb6041578c74fc8dc4b"),
            (0.915757, 157.981716, 2, "3df6a31cc98b2890b205d4d34e8d582d"),
            (0.914874, 155.831316, 2, "9146183b6838c1ffc4d1572e348882de"),
            (0.913780, 155.823124, 2, "a34ed508ee39e07de8e335b9619eac75"),
            (0.913657, 149.056532, 2, "dc3e76b63f9c66db5d12a6ea277e8096"),
            (0.913548, 147.000340, 2, "45e28a07c1dfda6458e8c3a0d9925466"),
            (0.913096, 144.370708, 2, "315d6389739b704441cf7c11c9a0ca0a"),
            (0.912903, 142.277652, 2, "4b5da7a8d90f8d1d02d4bb3ac2b094cd"),
            (0.912606, 142.261268, 2, "c716973b799bd3e1deeb5519d0ddd5ce"),
        ],
    ),
    ("two_path", "op", "GNN", 2): (
        (145, 64, 26, 0, 0),
        [
            (0.906226, 157.453332, 0, "d910e271b563130670dffebad550347f"),
            (0.912920, 163.720212, 2, "e57cc7e37b90a02addbf395840cb217a"),
            (0.909306, 152.718356, 2, "baa7672f8093b0ff0a80bd53e91651a3"),
        ],
    ),
    ("nb201", "op", "PSC_predictor", 2): (
        (320, 236, 47, 0, 0),
        [
            (0.889999, 312.767892, 0, "1cd7d27c915d77db271aa0995e7baad7"),
            (1.054398, 308.049300, 1, "5ca92205d7a205cfa609948657cf4e99"),
            (0.986059, 308.024724, 2, "e710bd5cef4e90c5c76cd9bc8b3a2a2a"),
            (0.925224, 303.379860, 2, "534170782e49dccdd7f86bd232f49421"),
            (0.925139, 303.347092, 2, "754d7e8af10977c408ea39a5563b7669"),
            (0.922955, 303.338900, 2, "a916f86357af0c1eca3e0c72a09a4b7e"),
        ],
    ),
}

TWO_STAGES = [
    (1.926886, 428.051476, 0, "0c35ed419419c378c06ab65bfe8c0468"),
    (1.948248, 428.054548, 2, "f384214905cadffb4e097467c154ebcb"),
    (1.930986, 427.543572, 2, "c03ddb948e35fda7f3298f8a773e0dba"),
    (1.941994, 419.671060, 2, "7213a80a12d4100333ab21f544923624"),
]
DEVIATIONS = [0.420212, 0.401441, 0.392002, 0.415967]  # by the deviation that is fitted on more Inception networks


def compare(result, networks):
    """Hold input and front of a search against pinned rows."""
    assert [(one.iteration, one.identity) for one in (result.source, *result.front)] == [row[2:] for row in networks]
    figures = [figure for one in (result.source, *result.front) for figure in (one.score, one.mflops)]
    assert figures == pytest.approx([figure for row in networks for figure in row[:2]], rel=0, abs=1e-6)


@pytest.mark.parametrize("case", PINNED, ids=lambda case: "-".join(map(str, case)))
def test_golden_search(case):
    family, unit, predictor, epoch = case
    checkpoint = {"PSC_predictor": "psc_chkpt.pt", "GNN": "gnn_chkpt.pt"}[predictor]
    config = SearchConfig(
        family,
        predictor_path=str(ROOT / "saved_models" / checkpoint),
        predictor_type=predictor,
        mutation_unit=unit,
        rescore_per_iter=0,
        epoch=epoch,
        top_k=3,
        max_candidate_per_iter=4,
        max_target_per_iter=20,
        min_flops_decrease_percent=-10,
        max_flops_decrease_percent=100,
    )
    result = search(load_cg(ROOT / "architectures" / f"{family}_best.pkl"), config)
    counts, networks = PINNED[case]
    compare(result, networks)
    found = result.propagation
    seen = result.n_scored, len(result.visited), result.n_distinct, found.successes.count, found.failures.count
    assert seen == counts


def test_golden_search_in_two_stages():
    config = SearchConfig(
        "inception", epoch=2, top_k=3, max_candidate_per_iter=4, max_target_per_iter=20, rescore_per_iter=25, seed=1,
        min_flops_decrease_percent=-10, max_flops_decrease_percent=100,
    )  # fmt: skip
    result = search(load_cg(ROOT / "architectures" / "inception_best.pkl"), config)
    compare(result, TWO_STAGES)
    assert len(result.history) == 50
    assert result.source.rating.known_share == pytest.approx(256 / 258)
    assert [one.rating.sd for one in (result.source, *result.front)] == pytest.approx(DEVIATIONS, abs=1e-6)
