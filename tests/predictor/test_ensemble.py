import json
import math
import subprocess
import sys

import numpy as np
import pytest

from constants import ROOT
from model_src.encoder.known_pieces import KnownPieces
from model_src.files import InputError
from model_src.predictor.ensemble import load_ensemble
from model_src.predictor.scoring import load_predictor
from model_src.predictor.settings import ModelConfig
from tests.predictor.helpers import make_checkpoint, random_graph, segments_of

SCALES = {"nb101_5k": (0.9, 0.02), "hiaml": (0.8, 0.05)}


@pytest.fixture
def networks():
    graphs = [random_graph(np.random.default_rng(seed), 12 + seed) for seed in range(4)]
    return [(graph, segments_of(graph, [3, 3, 3, graph.n_nodes - 9])) for graph in graphs]


@pytest.fixture
def save(tmp_path):
    """Write an untrained predictor and give its path."""

    def make(name, predictor_type="PSC_predictor", seed=0, scales=SCALES, config=None):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        make_checkpoint(predictor_type, config, seed, target_normalisers=scales).save(path)
        return path

    return make


def test_scores_are_means_of_the_members_and_their_deviation(save, networks):
    paths = [save("a.pt"), save("b.pt", seed=1), save("c.pt", seed=2, config=ModelConfig(num_layers=2))]
    expected = np.array([load_predictor(path).score_networks(networks) for path in paths])
    scores = load_ensemble(paths).score_networks(networks, "hiaml")
    assert [mean for mean, _ in scores] == pytest.approx(expected.mean(axis=0), abs=1e-8)
    assert [deviation for _, deviation in scores] == pytest.approx(expected.std(axis=0, ddof=1), abs=1e-8)
    assert scores == [load_ensemble(paths).score_networks([network])[0] for network in networks]


def test_what_members_see_alike_is_packed_once(save, networks, monkeypatch):
    from model_src.predictor import scoring

    calls = []
    original = scoring.pack_segmented
    monkeypatch.setattr(scoring, "pack_segmented", lambda *given: calls.append(given[1]) or original(*given))
    paths = [save("a.pt"), save("b.pt", seed=1), save("c.pt", config=ModelConfig(num_layers=2)), save("g.pt", "GNN")]
    load_ensemble(paths).score_networks(networks)
    assert calls == [6, 2]


@pytest.mark.parametrize(
    ("family", "mean", "deviation"),
    [
        ("hiaml", 0.8, 0.05),
        ("nb101", 0.9, 0.02),  # by any of its names
        (None, 0.85, math.sqrt((0.05**2 + 0.02**2) / 2 + 0.05**2)),
        ("generic", 0.85, math.sqrt((0.05**2 + 0.02**2) / 2 + 0.05**2)),
    ],
)
def test_a_gnn_is_standardised(save, networks, family, mean, deviation):
    psc, gnn = save("a.pt"), save("g.pt", "GNN", scales={})
    expected = [(score - mean) / deviation for score in load_predictor(gnn).score_networks(networks)]
    members = load_ensemble([psc, gnn]).score_members(networks, family)
    assert members[:, 1] == pytest.approx(expected, abs=1e-7)
    assert members[:, 0] == pytest.approx(load_predictor(psc).score_networks(networks), abs=1e-8)


def test_all_networks_have_a_scale_of_their_own(save, networks):
    gnn = save("g.pt", "GNN", scales={**SCALES, "all": (0.5, 0.1)})
    expected = [(score - 0.5) / 0.1 for score in load_predictor(gnn).score_networks(networks)]
    assert load_ensemble(gnn).score_members(networks)[:, 0] == pytest.approx(expected, abs=1e-7)


def test_one_checkpoint_has_no_deviation(save, networks):
    for path in (save("a.pt"), save("g.pt", "GNN", scales={})):
        alone = load_ensemble([path])
        means, deviations = zip(*alone.score_networks(networks, "hiaml"), strict=True)
        assert list(means) == load_predictor(path).score_networks(networks)
        assert all(map(math.isnan, deviations))


def test_a_folder_is_its_checkpoints_by_name(save, networks, tmp_path):
    paths = [save("all/2.pt", "GNN"), save("all/1.pt", seed=3)]
    ensemble = load_ensemble(tmp_path / "all")
    assert [path.rsplit("/", 1)[-1] for path in ensemble.members] == ["1.pt", "2.pt"]
    assert ensemble.first.predictor_type == "PSC_predictor"
    assert ensemble.score_networks(networks) == load_ensemble(paths[::-1]).score_networks(networks)


def test_a_folder_knows_what_its_members_learnt_from(save, tmp_path):
    paths = [save("all/1.pt"), save("all/2.pt", seed=1)]
    assert load_ensemble(tmp_path / "all").known_pieces is None
    known = KnownPieces("of a vocabulary", frozenset([("conv2d", "x", "")]))
    known.save(tmp_path / "all" / "known_pieces.txt")
    assert load_ensemble(tmp_path / "all").known_pieces == known
    assert load_ensemble(paths).known_pieces is None


def test_the_deviation_is_calibrated_where_the_members_are_those_of_the_folder(save, networks, tmp_path):
    paths = [save("all/1.pt"), save("all/2.pt", seed=1)]
    entries = {"hiaml": {"floor": 0.3, "factor": 2.0}, "all": {"floor": 0.0, "factor": 5.0}}
    (tmp_path / "all" / "ensemble.json").write_text(json.dumps({"deviation": entries}))
    plain = load_ensemble(paths).score_networks(networks, "hiaml")
    ensemble = load_ensemble(tmp_path / "all")
    expected = [math.hypot(0.3, 2 * deviation) for _, deviation in plain]
    assert [deviation for _, deviation in ensemble.score_networks(networks, "hiaml")] == pytest.approx(expected)
    expected = [5 * deviation for _, deviation in plain]
    assert [deviation for _, deviation in ensemble.score_networks(networks, "nb201")] == pytest.approx(expected)
    assert [mean for mean, _ in ensemble.score_networks(networks)] == [mean for mean, _ in plain]


def test_members_have_names_of_their_own(save, tmp_path):
    paths = [save("a/p.pt"), save("b/p.pt", seed=1), save("q.pt", seed=2)]
    assert load_ensemble(paths[1:]).member_names == ["p", "q"]
    assert load_ensemble(paths).member_names == ["a_p", "b_p", f"{tmp_path.name}_q"]
    with pytest.raises(InputError, match=r"p\.pt: one is given twice"):
        load_ensemble([paths[0], tmp_path / "a" / ".." / "a" / "p.pt"])


def test_each_kind_counts_the_same(save, networks):
    ensemble = load_ensemble([save("a.pt"), save("b.pt", seed=1), save("g.pt", "GNN"), save("c.pt", seed=2)])
    weights = np.array([1, 1, 3, 1]) / 6
    members = ensemble.score_members(networks, "hiaml")
    means, deviations = zip(*ensemble.score_networks(networks, "hiaml"), strict=True)
    assert means == pytest.approx(members @ weights, abs=1e-8)
    variances = ((members - (members @ weights)[:, None]) ** 2 @ weights) * 4 / 3
    assert deviations == pytest.approx(np.sqrt(variances), abs=1e-8)


def test_scores_become_accuracies_where_the_scale_is_known(save):
    ensemble = load_ensemble([save("a.pt"), save("g.pt", "GNN", scales={})])
    assert ensemble.accuracy_scale("nb101") == (0.9, 0.02)
    assert ensemble.accuracy_scale("nb201") is ensemble.accuracy_scale(None) is None
    assert load_ensemble(save("g.pt", "GNN", scales={})).accuracy_scale("nb201") == (0.0, 1.0)
    assert load_ensemble(save("p.pt", scales={})).accuracy_scale("nb201") is None


def test_what_cannot_be_an_ensemble_is_named(save, tmp_path):
    with pytest.raises(InputError, match="needs a checkpoint"):
        load_ensemble([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: has no checkpoints"):
        load_ensemble([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"missing\.pt"):
        load_ensemble(tmp_path / "missing.pt")
    with pytest.raises(InputError, match=r"g\.pt: predicts fractions"):
        load_ensemble([save("a.pt", scales={}), save("g.pt", "GNN", scales={})])
    save("all/1.pt")
    for content in (
        "no json",
        "[]",
        '{"deviation": {"hiaml": {"floor": "x"}}}',
        '{"deviation": {}}',
        '{"deviation": {"hiaml": {"floor": NaN, "factor": 1}}}',
        '{"deviation": {"hiaml": {"floor": 0, "factor": -1}}}',
        '{"deviation": {"hiaml": {"floor": true, "factor": "1"}}}',
        '{"deviation": {"hiaml": {"floor": 1' + "0" * 400 + ', "factor": 1}}}',
        "[" * 100_000,
    ):
        (tmp_path / "all" / "ensemble.json").write_text(content)
        with pytest.raises(InputError, match=r"ensemble\.json: not the calibration"):
            load_ensemble(tmp_path / "all")


def test_no_compiler_is_loaded_with_a_predictor(tmp_path):
    """Embeddings that are drawn on `meta` would import one, which takes as long as PyTorch itself."""
    make_checkpoint("GNN").save(tmp_path / "gnn.pt")
    code = f"import sys; from model_src.predictor.ensemble import *; load_ensemble({str(tmp_path)!r}); "
    code += "print([name for name in ('torch._dynamo', 'sklearn', 'networkx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
