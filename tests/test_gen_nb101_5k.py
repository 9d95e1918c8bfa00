import logging

import pytest

import gen_nb101_5k
from model_src.families import find
from model_src.family_data import (
    LabelledGraph,
    family_path,
    iter_list_cache,
    load_family,
    read_names,
    save_list_cache,
)
from model_src.files import InputError, save_pickle
from model_src.search_space import nb101

NB101_FULL_FILE, NB101_NAMES_FILE = find("nb101").subset
CELLS = [
    [[nb101.INPUT, *ops, nb101.OUTPUT], [[int(t == v + 1) for t in range(n + 2)] for v in range(n + 2)]]
    for n in range(1, 3)
    for ops in ([nb101.OPS[i]] * n for i in range(3))
]


@pytest.fixture
def data(tmp_path):
    """A folder with a full cache of six networks in a scrambled order of names."""
    networks = [
        LabelledGraph(nb101.build(cell, f"NB101-Net{7 * number % 6}"), 0.9 + number / 100, 1.5, 10 + number, cell)
        for number, cell in enumerate(CELLS)
    ]
    save_list_cache(tmp_path / NB101_FULL_FILE, networks)
    return tmp_path


def run(data, *flags):
    assert gen_nb101_5k.main(["-data_dir", str(data), *flags]) == 0
    return load_family("nb101_5k", data)


def test_the_published_names_in_the_order_of_the_full_cache(data, caplog):
    full = list(iter_list_cache(data / NB101_FULL_FILE))
    names = [full[4].graph.name, full[1].graph.name, "NB101-Net10043"]
    save_pickle(names, data / NB101_NAMES_FILE)
    with caplog.at_level(logging.INFO):
        subset = run(data, "-num", "1")
    assert [network.graph.name for network in subset] == [full[1].graph.name, full[4].graph.name]
    assert [(n.accuracy, n.flops, n.n_params, n.config) for n in subset] == [
        (n.accuracy, n.flops, n.n_params, n.config) for n in (full[1], full[4])
    ]
    assert "2 of the 3 networks" in caplog.text
    assert f"wrote {family_path('nb101_5k', data)}" in caplog.messages
    assert family_path("nb101_5k", data).read_bytes()[:2] == b"\x80\x04"


def test_without_the_list_a_seeded_sample(data, caplog):
    order = [network.graph.name for network in iter_list_cache(data / NB101_FULL_FILE)]
    with caplog.at_level(logging.INFO):
        drawn = [
            [network.graph.name for network in run(data, "-num", "3", "-seed", seed)] for seed in ("1", "1", "2", "3")
        ]
    assert "no such list, so 3 networks are sampled with seed 1" in caplog.text
    assert drawn[0] == drawn[1]
    assert len(set(map(tuple, drawn))) > 1
    assert all(names == sorted(names, key=order.index) and len(names) == 3 for names in drawn)
    assert [network.graph.name for network in run(data, "-num", "6")] == order


def test_bad_input_leaves_no_file(data):
    with pytest.raises(InputError, match=r"-num 7: .*gpi_nb101_comp_graph_cache\.pkl has only 6 networks"):
        run(data, "-num", "7")
    for names, reason in ((["other"], "has none of the 1 networks"), ([1], "not a list of network names")):
        save_pickle(names, data / NB101_NAMES_FILE)
        with pytest.raises(InputError, match=reason):
            run(data)
    (data / NB101_FULL_FILE).unlink()
    (data / NB101_NAMES_FILE).unlink()
    with pytest.raises(InputError, match=r"gpi_nb101_comp_graph_cache\.pkl: No such file"):
        run(data)
    assert list(data.iterdir()) == []


@pytest.mark.parametrize("flag", [["-num", "0"], ["-seed", "-1"], ["-size", "5"]])
def test_bad_flags(flag):
    with pytest.raises(InputError):
        gen_nb101_5k.main(flag)


def test_the_published_list_of_names(reference):
    assert len(read_names(reference / "published" / "data" / NB101_NAMES_FILE)) == 5000
