import numpy as np
import pytest

from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segmentation import segment_with_text
from model_src.encoder.tokenizer import Tokenizer
from model_src.files import InputError
from model_src.labels.table import read_label_table
from model_src.predictor.scoring import load_predictor
from model_src.predictor.settings import ModelConfig
from model_src.predictor.teacher import NOMINAL_SCALE, Teacher
from model_src.predictor.training.metrics import spearman
from model_src.search_space.sampling import distinct_networks, space_of
from tests.predictor.data.test_psc_cache import segments_of
from tests.predictor.helpers import make_checkpoint, parts_of, random_graph, reference_networks


@pytest.fixture
def networks():
    """Three networks of 9 nodes in segments; one split of each has no segment of its own."""
    texts = [["a", "bc", "def", "ghi"], ["ab", "ab", "cdef", "g"], ["x", "ab", "c", "ab", "yyy"]]
    graphs = [random_graph(np.random.default_rng(seed), 9, f"net{seed}") for seed in range(3)]
    return [(graph, segments_of(graph, text)) for graph, text in zip(graphs, texts, strict=True)]


def path_of(tmp_path, config=None, **fields):
    make_checkpoint("PSC_predictor", config, **fields).save(tmp_path / "teacher.pt")
    return tmp_path / "teacher.pt"


def test_a_score_is_the_mean_over_the_splits_that_are_not_empty(tmp_path, networks):
    path = path_of(tmp_path)
    predictor = load_predictor(path, "PSC_predictor", "cpu")
    bounds = [[(1, 3), (3, 6), (6, 8)], [(1, 2), (2, 4), (4, 8)], [(1, 3), (3, 4), (4, 6), (6, 8)]]
    expected = [
        np.mean(predictor.score_psc(parts_of(graph, own))) for (graph, _), own in zip(networks, bounds, strict=True)
    ]
    teacher = Teacher(path, "hiaml")
    assert teacher.scores(networks) == pytest.approx(expected, abs=1e-6)
    assert teacher.scores(networks[1:2]) == pytest.approx(expected[1:2], abs=1e-6)


def test_the_settings_of_the_checkpoint_count(tmp_path, networks):
    deep, own_map = (
        Teacher(path_of(tmp_path, config), "hiaml").scores(networks)
        for config in (ModelConfig(num_layers=2), ModelConfig(num_layers=2, map_size=32))
    )
    assert not np.allclose(deep, own_map)


@pytest.mark.parametrize(
    ("family", "scale"),
    [("nb101", (0.8, 0.1)), ("nb101_5k", (0.8, 0.1)), ("hiaml", (0.95, 0.2)), ("inception", NOMINAL_SCALE)],
)
def test_accuracies(tmp_path, networks, family, scale):
    path = path_of(tmp_path, target_normalisers={"nb101_5k": (0.8, 0.1), "hiaml": (0.95, 0.2)})
    teacher = Teacher(path, family)
    assert teacher.scale == scale
    expected = np.clip(scale[0] + scale[1] * teacher.scores(networks), 0, 1)
    assert teacher.accuracies(networks) == pytest.approx(expected, abs=1e-6)
    teacher.scale = (0.9, 1e6)
    assert set(teacher.accuracies(networks)) <= {0.0, 1.0}


def test_only_psc_predictors_teach(tmp_path):
    make_checkpoint("GNN").save(tmp_path / "gnn.pt")
    with pytest.raises(InputError, match=r"gnn\.pt: holds a GNN predictor"):
        Teacher(tmp_path / "gnn.pt", "hiaml")


@pytest.mark.parametrize("family", ["hiaml", "two_path", "inception", "nb101", "nb201"])
def test_the_published_teacher(reference, family):
    """The mean of the published predictions, where all pieces of the published tokenizer are given."""
    pairs = reference_networks(reference, family)
    networks = [(graph, _with_order(entry["topological_order"], entry["pieces"])) for graph, entry in pairs]
    expected = [
        np.mean([split["prediction"] for split in entry["psc"] if split["prediction"] is not None])
        for _, entry in pairs
    ]
    scores = Teacher(reference / "published" / "saved_models" / "psc_chkpt.pt", family).scores(networks)
    assert scores == pytest.approx(expected, abs=1e-5)


def _with_order(order, lengths):
    ends = np.cumsum(lengths).tolist()
    return [("x" * length, order[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def test_the_published_teacher_ranks_measured_networks(reference):
    folder = reference / "published" / "cache_sentence_piece" / "h+i+n15+n2+t"
    encoder = NetworkEncoder.load(folder / "h+i+n15+n2+t_encoder_shp.pkl")
    tokenizer = Tokenizer.load(folder / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.model")
    labels = read_label_table(reference / "labels" / "nb201_cifar10_test_accuracy.csv.gz")
    drawn = list(distinct_networks(space_of("nb201"), np.random.default_rng(1), 40, labels))
    networks = [(network.graph, segment_with_text(network.graph, encoder, tokenizer)) for network in drawn]
    scores = Teacher(reference / "published" / "saved_models" / "psc_chkpt.pt", "nb201").scores(networks)
    assert spearman(np.array([network.accuracy for network in drawn]), scores) > 0.85
