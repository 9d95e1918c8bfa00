import logging

import pytest

import gen_families
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.family_data import FAMILY_FILES, load_family
from model_src.files import InputError
from model_src.search_space import nb201


def generate(tmp_path, family, *flags):
    path = tmp_path / FAMILY_FILES[family]
    assert gen_families.main(["-family", family, "-output", str(path), *flags]) == 0
    return load_family(family, tmp_path)


@pytest.mark.parametrize("family", gen_families.FAMILIES)
def test_every_family_can_be_loaded(tmp_path, family):
    networks = generate(tmp_path, family, "-num", "6")
    assert len({canonical_hash(network.graph) for network in networks}) == 6
    assert all(network.flops > 1 and network.n_params > 1000 and network.config for network in networks)
    assert {network.accuracy for network in networks} == {None}


def test_the_same_seed_gives_the_same_file(tmp_path):
    first = generate(tmp_path / "a", "two_path", "-num", "5", "-seed", "3")
    second = generate(tmp_path / "b", "two_path", "-num", "5", "-seed", "3")
    other = generate(tmp_path / "c", "two_path", "-num", "5", "-seed", "4")
    assert [n.config for n in first] == [n.config for n in second] != [n.config for n in other]
    file = FAMILY_FILES["two_path"]
    assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_labels(tmp_path, caplog):
    cells = nb201.all_configs()[::1000]
    table = tmp_path / "table.csv"
    table.write_text(
        "architecture,accuracy\n"
        + "".join(f"{nb201.architecture_string(cell)},9{n}.5\n" for n, cell in enumerate(cells))
    )
    with caplog.at_level(logging.INFO):
        networks = generate(tmp_path, "nb201c10", "-num", "all", "-label_table", str(table))
    assert {nb201.network_name(cell): 0.01 * (90.5 + n) for n, cell in enumerate(cells)} == {
        network.graph.name: pytest.approx(network.accuracy) for network in networks
    }
    assert f"{len(cells)} networks; {4096 - len(cells)} without a label" in caplog.text


def test_the_traced_form_has_no_identities(tmp_path):
    published = generate(tmp_path / "a", "nb201", "-num", "4")
    traced = generate(tmp_path / "b", "nb201", "-num", "4", "-traced")
    assert [n.graph.name for n in published] == [n.graph.name for n in traced]
    for with_identity, without in zip(published, traced, strict=True):
        n_skips = with_identity.config.count("skip_connect")
        assert sum(node.label == "identity" for node in with_identity.graph.nodes) == 15 * n_skips + 1
        assert sum(node.label == "identity" for node in without.graph.nodes) == 1


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["-family", "ofa"], "invalid choice"),
        (["-family", "hiaml", "-num", "0"], "at least 1"),
        (["-family", "hiaml", "-num", "all"], "-num all is for NB-201"),
        (["-family", "nb101", "-label", "analog-nasbench"], "is for NB-201"),
        (["-family", "two_path", "-traced"], "-traced is for NB-201"),
        (["-family", "nb201", "-label", "analog-nasbench", "-label_table", "t.csv"], "exclude each other"),
        (["-family", "hiaml", "-label_table", "no.csv", "-output", "x.json"], "no.csv: No such file"),
        (["-family", "hiaml", "-output", "x.pkl"], "a cache of hiaml is a .json file"),
    ],
)
def test_bad_flags(flags, reason):
    with pytest.raises(InputError, match=reason):
        gen_families.main(flags)


def test_nothing_is_written_when_networks_run_out(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"architecture,accuracy\n{nb201.architecture_string(['skip_connect'] * 6)},0.9\n")
    with pytest.raises(InputError, match="only 1 distinct labelled networks were found"):
        generate(tmp_path, "nb201", "-num", "2", "-label_table", str(table))
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_labels_of_the_package(tmp_path, monkeypatch):
    table = {nb201.architecture_string(cell): 0.9 for cell in nb201.all_configs()[:3]}
    monkeypatch.setattr("model_src.search_space.labels.read_analog_nasbench", lambda: table)
    assert {network.accuracy for network in generate(tmp_path, "nb201", "-label", "analog-nasbench", "-num", "3")} == {
        0.9
    }
