import numpy as np
import pytest

import run_psc_segment
from model_src.encoder import paths
from model_src.family_data import LabelledGraph, family_path, load_family, save_family
from model_src.files import InputError
from model_src.predictor.data.psc_cache import load_cache
from model_src.search_space import nb201

VOCABULARY = ("-encoder_families", "nb201", "-vocab_size", "120")


def make_workspace(folder, count=12):
    """Labelled NB-201 networks and a vocabulary learnt from them, in `folder`; returns the flags that name them."""
    import gen_vocab

    rng = np.random.default_rng(0)
    networks = {}
    while len(networks) < count:
        config = nb201.sample(rng)
        graph = nb201.build(config, nb201.network_name(config))
        networks[graph.name] = LabelledGraph(graph, round(0.9 + graph.n_nodes / 1e4, 4), 100.0)
    unlabelled = nb201.build(["nor_conv_1x1"] * 6, "unlabelled")
    save_family(family_path("nb201", folder), [*networks.values(), LabelledGraph(unlabelled, None, 100.0)])
    gen_vocab.main(["-families", "nb201", "-vocab_size", "120", "-data_dir", str(folder), "-output_dir", str(folder)])
    return ("-data_dir", str(folder), "-vocabulary_dir", str(folder), "-cache_dir", str(folder))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("psc")
    flags = make_workspace(folder)
    run_psc_segment.main(["-data_family", "nb201c10", *VOCABULARY, *flags])
    return folder


def test_every_split_of_every_labelled_network_is_there(workspace):
    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segmentation import segment
    from model_src.encoder.tokenizer import Tokenizer

    cache = load_cache(workspace / "gpi_comp_graph_cache_E-n2_D-n2_shp_120.pkl")
    assert cache.family == "nb201"
    assert len(cache.networks) == 12
    assert cache.selected is None
    files = paths.vocabulary_files("nb201", "shp", 120, workspace)
    encoder, tokenizer = NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)
    labelled = {network.graph.name: network for network in load_family("nb201", workspace)}
    for network in cache.networks:
        graph = labelled[network.name].graph
        groups = segment(graph, encoder, tokenizer)
        assert network.accuracy == labelled[network.name].accuracy
        assert network.order.tolist() == [node for group in groups for node in group]
        groups[0], groups[-1] = groups[0][1:], groups[-1][:-1]
        assert [network.order[start:stop].tolist() for _, start, stop in network.splits] == [g for g in groups if g]
        text = encoder.encode_graph(graph)
        assert [cache.pieces[piece] for piece, _, _ in network.splits] == [text[a:b] for _, a, b in network.splits]


def test_the_cache_is_small(workspace):
    size = (workspace / "gpi_comp_graph_cache_E-n2_D-n2_shp_120.pkl").stat().st_size
    assert size / 12 < 850_000 / 50


def test_missing_files_name_the_command_that_makes_them(workspace, tmp_path):
    flags = ["-data_family", "nb101", "-cache_dir", str(tmp_path), "-data_dir", str(tmp_path)]
    with pytest.raises(InputError, match=r"gen_vocab\.py -families nb201 -encoding shp -vocab_size 120"):
        run_psc_segment.main([*flags, *VOCABULARY, "-vocabulary_dir", str(tmp_path)])
    with pytest.raises(InputError, match=r"python gen_families\.py -family nb101_5k"):
        run_psc_segment.main([*flags, *VOCABULARY, "-vocabulary_dir", str(workspace)])


def test_networks_must_be_labelled(workspace, tmp_path):
    graph = nb201.build(["nor_conv_1x1"] * 6, "unlabelled")
    save_family(family_path("nb201", tmp_path), [LabelledGraph(graph, None, 100.0)])
    flags = ["-data_dir", str(tmp_path), "-vocabulary_dir", str(workspace), "-cache_dir", str(tmp_path)]
    with pytest.raises(InputError, match="none of the networks of nb201 has an accuracy"):
        run_psc_segment.main(["-data_family", "nb201", *VOCABULARY, *flags])


@pytest.mark.parametrize("family", ["nb301", "nb201+hiaml", ""])
def test_other_families_are_refused(family):
    with pytest.raises(InputError):
        run_psc_segment.parse_args(["-data_family", family])


def test_nb101_is_its_subset():
    assert run_psc_segment.parse_args(["--data-family", "nb101"]).family == "nb101_5k"
