import numpy as np
import pytest

from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segmentation import segment
from model_src.encoder.tokenizer import Tokenizer
from model_src.files import InputError
from model_src.labels.table import read_label_table
from model_src.predictor.scoring import load_predictor
from model_src.predictor.teacher import NOMINAL_SCALE, Teacher
from model_src.predictor.training.metrics import spearman
from model_src.search_space.sampling import distinct_networks, space_of
from tests.predictor.helpers import make_checkpoint, random_graph, segments_of


@pytest.fixture
def networks():
    """Three networks of 9 nodes in segments."""
    lengths = [[1, 2, 3, 3], [2, 2, 4, 1], [1, 2, 1, 2, 3]]
    graphs = [random_graph(np.random.default_rng(seed), 9, f"net{seed}") for seed in range(3)]
    return [(graph, segments_of(graph, own)) for graph, own in zip(graphs, lengths, strict=True)]


def path_of(tmp_path, config=None, **fields):
    make_checkpoint("PSC_predictor", config, **fields).save(tmp_path / "teacher.pt")
    return tmp_path / "teacher.pt"


@pytest.mark.parametrize(
    ("family", "scale"),
    [("nb101", (0.8, 0.1)), ("nb101_5k", (0.8, 0.1)), ("hiaml", (0.95, 0.2)), ("inception", NOMINAL_SCALE)],
)
def test_accuracies(tmp_path, networks, family, scale):
    path = path_of(tmp_path, target_normalisers={"nb101_5k": (0.8, 0.1), "hiaml": (0.95, 0.2)})
    teacher = Teacher(path, family)
    assert teacher.scale == scale
    scores = np.array(load_predictor(path, "PSC_predictor", "cpu").score_networks(networks))
    expected = np.clip(scale[0] + scale[1] * scores, 0, 1)
    assert teacher.accuracies(networks) == pytest.approx(expected, abs=1e-6)
    teacher.scale = (0.9, 1e6)
    assert set(teacher.accuracies(networks)) <= {0.0, 1.0}


def test_only_psc_predictors_teach(tmp_path):
    make_checkpoint("GNN").save(tmp_path / "gnn.pt")
    with pytest.raises(InputError, match=r"gnn\.pt: holds a GNN predictor"):
        Teacher(tmp_path / "gnn.pt", "hiaml")


def test_the_published_teacher_ranks_measured_networks(reference):
    folder = reference / "published" / "cache_sentence_piece" / "h+i+n15+n2+t"
    encoder = NetworkEncoder.load(folder / "h+i+n15+n2+t_encoder_shp.pkl")
    tokenizer = Tokenizer.load(folder / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.model")
    labels = read_label_table(reference / "labels" / "nb201_cifar10_test_accuracy.csv.gz")
    drawn = list(distinct_networks(space_of("nb201"), np.random.default_rng(1), 40, labels))
    networks = [(network.graph, segment(network.graph, encoder, tokenizer)) for network in drawn]
    estimates = Teacher(reference / "published" / "saved_models" / "psc_chkpt.pt", "nb201").accuracies(networks)
    assert spearman(np.array([network.accuracy for network in drawn]), np.array(estimates)) > 0.85
