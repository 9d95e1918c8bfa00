import pickle
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
