"""Files of a search that is done, and the training of its results."""

import pytest

from model_src.comp_graph.inheritance import all_of
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import save_pickle
from model_src.search import output
from model_src.search.output import stored_search, train_results, write_results
from model_src.search.result_folder import ResultFolder
from model_src.search.session import search
from model_src.search.stored import stored_networks
from model_src.search.workers import Workers
from model_src.training.frontier import FrontierNetwork
from tests.search.conftest import TinyFactory
from tests.search.test_session import CONFIG


@pytest.fixture(scope="module")
def result(source):
    with Workers(TinyFactory(), 1) as workers:
        return search(source, CONFIG, workers=workers)


@pytest.mark.parametrize("from_scratch", [False, True])
@pytest.mark.parametrize("has_weights", [False, True])
def test_the_corrected_input_is_trained_and_weights_are_handed_on(source, monkeypatch, from_scratch, has_weights):
    trained = []
    monkeypatch.setattr(output, "train_frontier", lambda *args, **more: trained.extend((*args[:2], more)))
    weights = {node.str_id: {} for node in source.nodes if node.operation.has_parameters} if has_weights else None
    networks = [FrontierNetwork(0, "found", 2, all_of(weights) if has_weights else None)]
    train_results(networks, WeightedGraph(source, weights), None, None, None, None, from_scratch)
    (network,), corrected_source, more = trained
    assert (network.graph, network.iteration) == ("found", 2)
    assert corrected_source.normalisers["max_derived_H"] == 32  # of its own sizes
    inherits = has_weights and not from_scratch
    assert (network.inherited is not None) == (more["source_weights"] is not None) == inherits
    if inherits:
        assert len(more["source_weights"].weights) == len(weights)


def test_results_are_read_back(source, result, tmp_path):
    folder = ResultFolder.create(tmp_path, "search")
    folder.save_input(source)
    write_results(result, folder)
    moved = ResultFolder(folder.path.rename(tmp_path / "moved"))
    read, networks = stored_search(moved, "gone.pkl")
    assert read.graph.state_dict() == source.state_dict()
    assert read.weights is None
    assert [(one.rank, one.iteration) for one in networks] == [
        (one.rank, one.found.iteration) for one in result.networks
    ]
    for one, network in zip(result.networks, networks, strict=True):
        assert network.graph.state_dict() == one.graph.state_dict()


def test_the_table_is_there_before_anything_that_can_fail(result, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(ResultFolder, "save_genealogy", fail)
    folder = ResultFolder.create(tmp_path, "search")
    assert write_results(result, folder) == ["no space left"]
    source_row, stored = stored_networks(folder)
    assert source_row["hash"] == result.source.identity
    assert len(stored) == len(result.networks)
    assert all(one.path.exists() for one in stored)


def test_a_folder_of_version_0_1_takes_its_input_from_where_it_was(source, result, tmp_path):
    folder = ResultFolder.create(tmp_path, "search")
    write_results(result, folder)
    save_pickle(source, tmp_path / "model.pkl")
    read, _ = stored_search(folder, str(tmp_path / "model.pkl"))
    assert read.graph.state_dict() == source.state_dict()
