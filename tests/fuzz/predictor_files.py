"""Vocabularies, checkpoints and weights: well-formed files as data, their loaders, what must hold."""

import json
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import constants
from model_src.comp_graph.load import load_network
from tests.comp_graph.twins import everything
from tests.fuzz.target import Target, as_json, as_pickle, as_raw, plain

CONFIG = constants.ROOT / "cache_sentence_piece" / "h+i+n15+n2+t"


def load_encoder(path: Path) -> Any:
    from model_src.encoder.network_encoder import NetworkEncoder

    return NetworkEncoder.load(path).encode_graph(everything())


def encoder_trees() -> list[Any]:
    return [
        {"families": ["nb201"], "encoding": "shp", "op2vocab": {"conv2d,3,in,,out,,": "\u4e00"}, "pool": "\u4e00\u4e01"}
    ]


def load_tokenizer(path: Path) -> Any:
    from model_src.encoder.tokenizer import Tokenizer

    return Tokenizer.load(path).segmenter


def tokenizer_trees() -> list[Any]:
    (path,) = (CONFIG / "models").glob("*shp.model")
    return [{"content": path.read_bytes()}]


def load_known(path: Path) -> Any:
    from model_src.encoder.known_pieces import KnownPieces

    return KnownPieces.load(path)


def known_trees() -> list[Any]:
    return [{"content": b"vocabulary\tabc\nconv2d\t\xe4\xb8\x80\trelu\n"}]


def load_calibration(path: Path) -> Any:
    from model_src.predictor.calibration import Calibration

    return Calibration.load(path)


def calibration_trees() -> list[Any]:
    return [{"deviation": {"all": {"floor": 0.1, "factor": 1.5}, "nb201": {"floor": 0, "factor": 1}}}]


def as_safetensors(tree: Any) -> bytes:
    header = json.dumps(tree["header"]).encode()
    return len(header).to_bytes(8, "little") + header + tree["content"]


def weights_trees() -> list[Any]:
    from model_src.comp_graph.weights import WeightedGraph, save_state
    from tests.fuzz.small import small, state_of

    with TemporaryDirectory() as folder:
        save_state(state_of(small()), Path(folder) / "a.pkl")
        content = (Path(folder) / "a.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    assert WeightedGraph
    return [{"header": json.loads(content[8:end]), "content": content[end:]}]


def load_weights(path: Path) -> Any:
    from tests.fuzz.small import small

    graph = path.with_suffix(".json")
    graph.write_bytes(as_json(plain(small().state_dict())))
    return load_network(graph)


def judge_weights(found: Any) -> None:
    import torch

    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network

    state = {name: torch.from_numpy(value) for name, value in found.state().items()}
    build_torch_network(found.graph, 0).load_state_dict(state, strict=False)


def checkpoint_trees() -> list[Any]:
    import torch

    from model_src.predictor.checkpoint import Checkpoint
    from model_src.predictor.models import build_model
    from model_src.predictor.settings import ModelConfig

    config = ModelConfig(in_channels=20, hidden_size=4, out_channels=4, num_layers=2)
    torch.manual_seed(0)
    weights = build_model("PSC_predictor", config).state_dict()
    made = Checkpoint(
        3, dict(weights), {}, 0.5, 2, "PSC_predictor", vars(config), {"nb201": (0.9, 0.1)}, "srcc", {}, {}
    )
    return [plain(vars(made))]


def as_checkpoint(tree: Any) -> bytes:
    import torch

    file = BytesIO()
    torch.save(tree, file)
    return file.getvalue()


def load_checkpoint(path: Path) -> Any:
    from model_src.predictor.checkpoint import load_checkpoint

    return load_checkpoint(path)


def judge_checkpoint(found: Any) -> None:
    import torch

    assert all(torch.isfinite(value).all() for value in found.build().state_dict().values())


def targets() -> dict[str, Target]:
    return {
        "encoder": Target(".pkl", encoder_trees, as_pickle, load_encoder),
        "tokenizer": Target(".model", tokenizer_trees, as_raw, load_tokenizer, share=2),
        "known_pieces": Target(".txt", known_trees, as_raw, load_known, share=1),
        "calibration": Target(".json", calibration_trees, as_json, load_calibration, share=1),
        "weights": Target(".safetensors", weights_trees, as_safetensors, load_weights, judge_weights),
        "checkpoint": Target(".pt", checkpoint_trees, as_checkpoint, load_checkpoint, judge_checkpoint),
    }
