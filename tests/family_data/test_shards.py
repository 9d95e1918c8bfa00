"""Families in shards: the same networks, vocabulary and segments as from one file."""

import json
import os
import sys
from dataclasses import replace

import pytest

import gen_DB
import gen_families
import gen_vocab
import make_segment_predictor_cache_sa
import run_cg_kgnn_predictor
import run_gpi_segment_predictor
import run_psc_segment
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segment_db import SegmentDatabase
from model_src.family_data import family_path, load_family, shards
from model_src.family_data.shards import INDEX, shard_paths, shards_of
from model_src.files import InputError
from model_src.predictor.data.psc_cache import load_cache
from tests.ray_cluster import two_nodes

SAMPLE = ["-family", "hiaml", "-num", "20", "-label_table", "data/labels/hiaml.csv", "-output"]


def test_without_arrow_it_says_how_to_get_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(shards, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^shards: .*: pip install autogo\[sharded\]$"):
        shards.place_for(tmp_path / "a.json", True, 5)
    assert shards.place_for(tmp_path / "a.json", False, 20_001) == (tmp_path / "a.json", False)
    assert "more than 20000 networks go into one file" in caplog.text
    assert shards.place_for(tmp_path / "a.json", False, None) == (tmp_path / "a.json", False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with a cache file, and one with the same networks in seven shards."""
    pytest.importorskip("pyarrow", reason="PyArrow is not installed (pip install autogo[sharded])")
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "PER_SHARD", 3)
        patch.setattr(shards, "PER_BATCH", 2)
        gen_families.main([*SAMPLE, str(family_path("hiaml", one))])
        gen_families.main([*SAMPLE, str(family_path("hiaml", many)), "-sharded"])
    return one, many


@pytest.fixture
def folder(folders, tmp_path):
    """A folder of shards that may be damaged."""
    found = shards_of(family_path("hiaml", folders[1]))
    copy = shards_of(family_path("hiaml", tmp_path))
    copy.mkdir()
    for path in found.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def contents(networks):
    return [(one.graph.state_dict(), one.flops, one.n_params, one.config) for one in networks]


def test_networks_are_the_same_and_in_the_same_order(folders):
    one, many = (load_family("hiaml", folder) for folder in folders)
    rounded = [replace(a, flops=b.flops) for a, b in zip(one, many, strict=True)]  # a .json file holds whole FLOPs
    assert json.dumps(contents(many)) == json.dumps(contents(rounded))
    assert [b.accuracy for b in many] == pytest.approx([a.accuracy for a in one])
    assert [b.flops for b in many] == pytest.approx([a.flops for a in one], abs=1e-6)
    assert len(shard_paths(shards_of(family_path("hiaml", folders[1])))) == 7


def test_the_vocabulary_is_the_same(folders, tmp_path):
    for name, folder in zip(("one", "many"), folders, strict=True):
        flags = ["-families", "hiaml", "-vocab_size", "60", "-data_dir", str(folder), "-output_dir"]
        gen_vocab.main([*flags, str(tmp_path / name)])
    one, many = (vocabulary_files("hiaml", "shp", 60, tmp_path / name) for name in ("one", "many"))
    assert one.text.read_bytes() == many.text.read_bytes()
    assert one.model.read_bytes() == many.model.read_bytes()


def build(folder, output, *flags):
    gen_DB.main(["-families", "hiaml", "-data_dir", str(folder), "-output", str(output), *flags])
    return output


def rows(path):
    database = SegmentDatabase.open(path)
    return [
        (segment.text, segment.graph.state_dict()["weighted_nodes"], segment.graph.edge_pairs, segment.inputs)
        for segment in database.segments
    ]


def test_the_database_is_the_same_and_does_not_depend_on_processes(folders, tmp_path):
    one, many = folders
    whole, here = build(one, tmp_path / "whole.pkl"), build(many, tmp_path / "here.pkl")
    assert rows(here) == rows(whole)
    assert build(many, tmp_path / "two.pkl", "-n_jobs", "2").read_bytes() == here.read_bytes()


def test_a_build_that_was_stopped_goes_on(folders, tmp_path, monkeypatch):
    from model_src.family_data import cutting

    read, seen = cutting.iter_shards, []

    def failing(paths):
        seen.append(paths[0].name)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return read(paths)

    monkeypatch.setattr(cutting, "iter_shards", failing)
    with pytest.raises(KeyboardInterrupt):
        build(folders[1], tmp_path / "db.pkl")
    assert (tmp_path / "db.pkl.kept").is_dir()
    resumed = build(folders[1], tmp_path / "db.pkl")
    assert seen == [f"{n:05}.arrow" for n in (0, 1, 2, 3, 3, 4, 5, 6)]
    assert resumed.read_bytes() == build(folders[1], tmp_path / "anew.pkl").read_bytes()


def test_a_cache_file_is_not_passed_over(folders, tmp_path):
    path = family_path("hiaml", tmp_path)
    path.write_text("{}")
    with pytest.raises(InputError, match="would be read instead of shards"):
        gen_families.main([*SAMPLE, str(path), "-sharded"])


def test_faults_name_the_file(folder, tmp_path):
    path = folder / "00002.arrow"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"^\S*00002\.arrow: "):
        load_family("hiaml", tmp_path)
    path.write_bytes((folder / "00001.arrow").read_bytes())
    with pytest.raises(InputError, match="two networks are named"):
        load_family("hiaml", tmp_path)
    (folder / INDEX).unlink()
    with pytest.raises(InputError, match=r"index\.json: "):
        load_family("hiaml", tmp_path)


def written_anew(path, change):
    """A shard with other rows."""
    import pyarrow as arrow

    with arrow.memory_map(str(path)) as file:
        table = arrow.ipc.open_file(file).read_all()
    rows = change(table.to_pylist())
    with arrow.OSFile(str(path), "wb") as file:
        options = arrow.ipc.IpcWriteOptions(compression="zstd")
        with arrow.ipc.new_file(file, table.schema, options=options) as writer:
            writer.write_table(arrow.Table.from_pylist(rows, table.schema))


def test_a_pipe_is_no_shard(folder, tmp_path):
    path = folder / "00001.arrow"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"^\S*00001\.arrow: not a regular file$"):
        load_family("hiaml", tmp_path)


def test_a_network_is_checked_when_it_is_read(folder, tmp_path):
    def change(rows):
        rows[1]["graph"] = rows[1]["graph"].replace('"resolution": [32', '"resolution": [31', 1)
        return rows

    written_anew(folder / "00003.arrow", change)
    with pytest.raises(InputError, match=r"^\S*00003\.arrow: network '\S+' is not usable: .*resolution|becomes"):
        load_family("hiaml", tmp_path)


def test_what_would_become_much_larger_is_refused_before_it_does(folder, tmp_path):
    written_anew(folder / "00003.arrow", lambda rows: [{**rows[0], "graph": '"' + " " * (1 << 25) + '"'}])
    with pytest.raises(InputError, match=r"^\S*00003\.arrow: [\d,]+ bytes of it would become 33,554,\d\d\d"):
        load_family("hiaml", tmp_path)


def test_a_shard_that_ends_between_two_batches_is_not_a_shorter_one(folder, tmp_path):
    content = (folder / "00003.arrow").read_bytes()
    cuts = [at for at in range(8, len(content), 8) if content[at : at + 4] == b"\xff\xff\xff\xff"]
    assert len(cuts) > 2
    for cut in cuts:
        (folder / "00003.arrow").write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"00003\.arrow: not an Arrow file, or cut short"):
            load_family("hiaml", tmp_path)


def parts(folder):
    """The splits in a folder of shards, whose only content they are."""
    (place,) = folder.glob("*.shards")
    return [load_cache(path) for path in shard_paths(place)]


def records(caches):
    """By piece, then network: text of the piece, name of the network and number of the split."""
    return sorted(
        (cache.pieces[network.splits[number][0]], network.name, number)
        for cache in caches
        for network, number in ((cache.networks[owner], number) for owner, number in cache.selected.tolist())
    )


def test_the_splits_are_the_same_and_do_not_depend_on_processes(folders, tmp_path):
    flags = ["-data_family", "hiaml", "-data_dir"]
    for name, folder, n_jobs in (("one", folders[0], "1"), ("many", folders[1], "1"), ("two", folders[1], "2")):
        run_psc_segment.main([*flags, str(folder), "-cache_dir", str(tmp_path / name), "-n_jobs", n_jobs])
    one = load_cache(next((tmp_path / "one").iterdir()))
    many, two = (parts(tmp_path / name) for name in ("many", "two"))
    assert [part.content() for part in many] == [part.content() for part in two]
    networks = [(part, network) for part in many for network in part.networks]
    for network, (part, own) in zip(one.networks, networks, strict=True):
        assert own.accuracy == pytest.approx(network.accuracy)  # a .json file holds percents
        assert own.graph(part.table).state_dict() == network.graph(one.table).state_dict()
        pieces = [[cache.pieces[row[0]] for row in found.splits] for cache, found in ((one, network), (part, own))]
        assert pieces[0] == pieces[1]
        assert own.splits[:, 1:].tolist() == network.splits[:, 1:].tolist()


@pytest.mark.parametrize("num_samples", ["all", "2", "0.4"])
def test_the_same_splits_are_selected(folders, tmp_path, num_samples):
    selected = {}
    for name, folder in zip(("one", "many"), folders, strict=True):
        flags = ["-data_family", "hiaml", "-cache_dir", str(tmp_path / name)]
        run_psc_segment.main([*flags, "-data_dir", str(folder)])
        make_segment_predictor_cache_sa.main([*flags, "-num_samples", num_samples])
    (one,) = (tmp_path / "one").glob("*_s_ns*.pkl")
    (many,) = (tmp_path / "many").glob("*_s_ns*.shards")
    selected = records([load_cache(one)]), records(map(load_cache, shard_paths(many)))
    assert selected[0] == selected[1]


def test_a_file_of_splits_is_not_passed_over(folders, tmp_path):
    flags = ["-data_family", "hiaml", "-cache_dir", str(tmp_path), "-data_dir"]
    run_psc_segment.main([*flags, str(folders[0])])
    with pytest.raises(InputError, match=r"_shp_2000\.pkl: is there and would be read instead of shards; remove it$"):
        run_psc_segment.main([*flags, str(folders[1])])


def test_no_accuracies_no_splits(folders, tmp_path):
    place = shards_of(family_path("hiaml", tmp_path))
    shards.save_shards(place, (replace(one, accuracy=None) for one in load_family("hiaml", folders[1])))
    with pytest.raises(InputError, match="none of the networks of hiaml has an accuracy"):
        run_psc_segment.main(["-data_family", "hiaml", "-data_dir", str(tmp_path), "-cache_dir", str(tmp_path)])


TRAINING = ["-data_families", "hiaml", "-epochs", "2", "-device_str", "cpu", "-num_layers", "2", "-select", "mae"]


def training_of(script, folder, *flags):
    """Run a training script; its latest checkpoint and its report, as bytes."""
    script.main([*TRAINING, "-saved_models_dir", str(folder), "-logs_dir", str(folder / "logs"), *flags])
    (checkpoint,), (report,) = folder.glob("*_latest.pt"), folder.glob("*_test.json")
    return checkpoint, checkpoint.read_bytes(), json.loads(report.read_text())


@pytest.fixture(scope="module")
def selected(folders, tmp_path_factory):
    """A folder with the selected splits of the cache file and one with those of the shards."""
    found = []
    for data in folders:
        folder = tmp_path_factory.mktemp("selected")
        flags = ["-data_family", "hiaml", "-cache_dir", str(folder)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "PER_SHARD", 3)
            run_psc_segment.main([*flags, "-data_dir", str(data)])
        make_segment_predictor_cache_sa.main(flags)
        found.append(folder)
    return found


@pytest.mark.parametrize("script", [run_cg_kgnn_predictor, run_gpi_segment_predictor], ids=["gnn", "psc"])
def test_a_training_on_shards(folders, selected, tmp_path, monkeypatch, script):
    monkeypatch.setattr(shards, "PER_SHARD", 3)
    is_gnn = script is run_cg_kgnn_predictor
    one, many = ([f"-{'data' if is_gnn else 'cache'}_dir", str(place)] for place in (folders if is_gnn else selected))
    _, whole, of_file = training_of(script, tmp_path / "file", *one)
    latest, first, of_shards = training_of(script, tmp_path / "first", *many)
    assert training_of(script, tmp_path / "again", *many)[1] == first != whole
    assert of_shards["test"]["hiaml"]["networks"]["count"] == of_file["test"]["hiaml"]["networks"]["count"]
    assert of_shards["target_normalisers"]["hiaml"] == pytest.approx(of_file["target_normalisers"]["hiaml"])
    training_of(script, tmp_path / "stopped", *many, "-epochs", "1")
    assert training_of(script, tmp_path / "stopped", *many, "-resume")[1] == first
    latest.write_bytes(whole)  # of a training that shuffles otherwise
    with pytest.raises(InputError, match="cannot go on from it, the hash of its networks was"):
        training_of(script, tmp_path / "first", *many, "-resume", "-epochs", "3")


def test_one_network_that_is_damaged_ends_a_training(folder, tmp_path):
    (folder / "00004.arrow").write_bytes(b"ARROW1")
    with pytest.raises(InputError, match=r"00004\.arrow: "):
        training_of(run_cg_kgnn_predictor, tmp_path / "models", "-data_dir", str(tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Ray
def test_ray_makes_the_same_files(folders, tmp_path):
    with two_nodes() as nodes:
        where = ["-n_jobs", "2", "-parallel_backend", "ray", "-ray_address", nodes.address]
        assert build(folders[1], tmp_path / "ray.pkl", *where).read_bytes() == (
            build(folders[1], tmp_path / "here.pkl").read_bytes()
        )
        for name, flags in (("ray", where), ("here", [])):
            cut = ["-data_family", "hiaml", "-data_dir", str(folders[1]), "-cache_dir", str(tmp_path / name)]
            run_psc_segment.main([*cut, *flags])
    ray, here = (parts(tmp_path / name) for name in ("ray", "here"))
    assert [part.content() for part in ray] == [part.content() for part in here]
