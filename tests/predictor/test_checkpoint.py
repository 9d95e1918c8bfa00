import pickle
import zipfile
from dataclasses import fields

import pytest
import torch

from model_src.files import InputError
from model_src.predictor.checkpoint import load_checkpoint
from model_src.predictor.settings import ModelConfig
from tests.predictor.helpers import make_checkpoint


def test_a_saved_checkpoint_comes_back(tmp_path):
    config = ModelConfig(num_layers=2, gnn_type="SAGEConv")
    saved = make_checkpoint("PSC_predictor", config, target_normalisers={"nb201": (0.9, 0.05)})
    saved.save(tmp_path / "a.pt")
    loaded = load_checkpoint(tmp_path / "a.pt", "PSC_predictor")
    for entry in fields(saved):
        if entry.name not in ("model", "optimizer"):
            assert getattr(loaded, entry.name) == getattr(saved, entry.name)
    assert all(torch.equal(loaded.build().state_dict()[name], values) for name, values in saved.model.items())


@pytest.mark.parametrize(("file", "predictor_type"), [("psc_chkpt.pt", "PSC_predictor"), ("gnn_chkpt.pt", "GNN")])
def test_published_checkpoints(reference, file, predictor_type):
    path = reference / "published" / "saved_models" / file
    checkpoint = load_checkpoint(path, predictor_type)
    assert (checkpoint.best_eval_iteration, checkpoint.target_normalisers) in ((3, {}), (19, {}))
    other = {"GNN": "PSC_predictor", "PSC_predictor": "GNN"}[predictor_type]
    with pytest.raises(InputError, match=f"{file}: holds a {predictor_type} predictor, not {other}"):
        load_checkpoint(path, other)


def test_an_unknown_type_is_named():
    with pytest.raises(InputError, match="-predictor_type psc: unknown; choose from GNN, PSC_predictor"):
        load_checkpoint("any.pt", "psc")


def write_bytes(path):
    path.write_bytes(b"hello, I am not a checkpoint")


def write_code(path):
    path.write_bytes(pickle.dumps(print))


def write_object(path):
    torch.save({"model": pytest.approx(1)}, path)


def write_list(path):
    torch.save([1, 2], path)


def write_other_network(path):
    torch.save({"model": {"fc.weight": torch.zeros(2)}}, path)


def write_cut_short(path):
    make_checkpoint("GNN").save(path)
    path.write_bytes(path.read_bytes()[:20_000])


def write_missing_weight(path):
    checkpoint = make_checkpoint("GNN")
    checkpoint.model.pop("embed_layer.bias_embed_layer.bias")
    checkpoint.save(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "No such file"),
        (write_bytes, "not a checkpoint"),
        (write_code, "not a checkpoint"),
        (write_object, "not a checkpoint that can be loaded safely"),
        (write_list, "holds a list, not a checkpoint"),
        (write_other_network, "not a checkpoint of a predictor"),
        (write_cut_short, "not a checkpoint, or damaged"),
        (write_missing_weight, "its weights do not fit: .*bias_embed_layer.bias"),
    ],
)
def test_foreign_files_are_refused_in_one_line(tmp_path, write, message):
    path = tmp_path / "x.pt"
    write(path)
    with pytest.raises(InputError, match=f"x.pt: .*{message}") as caught:
        load_checkpoint(path, "GNN")
    assert "\n" not in str(caught.value)


UNUSABLE = {
    "scales are a list": {"target_normalisers": [1]},
    "no deviation": {"target_normalisers": {"nb201": (0.9, 0.0)}},
    "mean is no number": {"target_normalisers": {"nb201": (float("nan"), 0.1)}},
    "three numbers": {"target_normalisers": {"nb201": (0.9, 0.1, 0.2)}},
    "no encoding": {"config": {"out_channels": 0}},
    "more layers than weights": {"config": {"num_layers": 10**7}},
    "larger than its weights": {"config": {"hidden_size": 10**6}},
    "map size is text": {"config": {"map_size": "32"}},
    "no scale of outputs": {"config": {"output_deviation": float("inf")}},
    "dropout is no share": {"config": {"dropout_prob": 7.0}},
    "unknown layers": {"config": {"gnn_type": "Foo"}},
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_contents_are_refused_in_one_line(tmp_path, case):
    saved = make_checkpoint("PSC_predictor")
    content = {entry.name: getattr(saved, entry.name) for entry in fields(saved)}
    for name, value in UNUSABLE[case].items():
        content[name] = {**content["config"], **value} if name == "config" else value
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: [^\n]*$"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("change", [lambda one: one * torch.nan, lambda one: one + 1j])
def test_weights_are_real_numbers(tmp_path, change):
    saved = make_checkpoint("GNN")
    saved.model["regressor.bias"] = change(saved.model["regressor.bias"])
    saved.save(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: .*some of the weights .* are no real numbers"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "kind", [torch.Tensor.to_sparse, lambda one: one.to("meta"), lambda one: one.to(torch.float8_e4m3fn)]
)
def test_weights_lie_there_as_plain_numbers(tmp_path, kind):
    saved = make_checkpoint("GNN")
    saved.model["regressor.weight"] = kind(saved.model["regressor.weight"])
    saved.save(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: not a checkpoint of a predictor"):
        load_checkpoint(tmp_path / "a.pt")


def test_changed_bytes_and_packed_ones_are_noticed(tmp_path):
    path = tmp_path / "a.pt"
    make_checkpoint("GNN").save(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"regressor.weight") + 8000  # somewhere in the numbers
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"a\.pt: damaged"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", b"0" * 10**7)
    with pytest.raises(InputError, match="compressed"):
        load_checkpoint(path)
