"""Fixtures that many tests share."""

import gzip
import json
import logging
import os
from functools import cache
from pathlib import Path

import pytest

from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph, RegularNode, WeightedNode
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = Path(os.environ.get("AUTOGO_REFERENCE", ROOT.parent / "shared" / "reference"))


@pytest.fixture
def made_up_children():
    """Asked for by tests whose searches get children that are none."""


@pytest.fixture(autouse=True)
def sound_searches(request):
    """Every search of every test keeps what `search.invariants` asks for."""
    wrong: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: wrong.append(record.getMessage())
    logger = logging.getLogger("model_src.search.invariants")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    assert not wrong or "made_up_children" in request.fixturenames


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of published files and numbers; tests that need it are skipped where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the reference folder {REFERENCE.name}/ is not beside the repository")
    return REFERENCE


@pytest.fixture(scope="session")
def published(reference) -> Path:
    """Folder of the published vocabulary."""
    return reference / "published" / "cache_sentence_piece" / "h+i+n15+n2+t"


@pytest.fixture(scope="session")
def encoder(published) -> NetworkEncoder:
    return NetworkEncoder.load(published / "h+i+n15+n2+t_encoder_shp.pkl")


@pytest.fixture(scope="session")
def model_path(published) -> Path:
    return published / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.model"


@pytest.fixture(scope="session")
def tokenizer(model_path) -> Tokenizer:
    return Tokenizer.load(model_path)


@pytest.fixture(scope="session")
def family(reference):
    """Family name -> its reference graphs."""

    @cache
    def read(name: str) -> list[ComputeGraph]:
        with gzip.open(reference / "families" / f"{name}.jsonl.gz", "rt") as lines:
            return [ComputeGraph.from_state_dict(json.loads(line)["graph"]) for line in lines]

    return read


@pytest.fixture(scope="session")
def op2i() -> OP2I:
    return OP2I().build_from_file()


def conv(str_id, h, c_in, c_out, stride=1, kernel=3, w=None, **metadata) -> WeightedNode:
    """A convolution on a map of `h` x `w` pixels, square if not given; stride and kernel may be pairs (h, w)."""
    (s_h, s_w), (k_h, k_w) = (pair if isinstance(pair, tuple) else (pair, pair) for pair in (stride, kernel))
    w = w or h
    return WeightedNode(
        str_id=str_id,
        label="grouped_conv" if "groups" in metadata else "conv2d",
        op_type_idx=3,
        resolution=(h, -(-h // s_h), w, -(-w // s_w), c_in, c_out),
        strides=(1, s_h, s_w, 1),
        metadata={"data_format": "NHWC", "dilations": (1, 1, 1, 1), "padding": "same", **metadata},
        shape=(c_in, c_out, k_h, k_w),
    )


def regular(str_id, label, op, h, c, h_out=None, c_out=None, w=None, w_out=None, **fields) -> RegularNode:
    """A node without a kernel on a map of `h` x `w` pixels and `c` channels, square if not given."""
    w = w or h
    w_out = w_out or h_out or w
    return RegularNode(str_id, label, op, (h, h_out or h, w, w_out, c, c_out or c), **fields)


@pytest.fixture
def tiny_graph() -> ComputeGraph:
    """input -> conv 3->8 -> relu -> add(relu, conv) -> output on an 8x8 map."""
    nodes = [
        conv("c", 8, 3, 8),
        regular("i", "input", 1, 8, 3),
        regular("r", "relu", 6, 8, 8),
        regular("a", "add", 9, 8, 8),
        regular("o", "output", 2, 8, 8),
    ]
    normalisers = {"max_hidden_size": 512, "max_kernel_size": 7, "max_derived_H": 256, "max_derived_W": 256}
    return ComputeGraph.from_nodes("tiny", (1, 8, 8, 3), nodes, [(1, 0), (0, 2), (2, 3), (0, 3), (3, 4)], normalisers)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say of every subject of the conformance suite how many cases agree (works under xdist, too)."""
    counts: dict[str, list[int]] = {}
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for key, value in report.user_properties:
            if key == "agreement":
                subject, *numbers = value
                counts[subject] = [a + b for a, b in zip(counts.get(subject, [0, 0]), numbers, strict=True)]
    if counts:
        terminalreporter.section("conformance with the published code")
    for subject, (n_agree, n_cases) in sorted(counts.items()):
        terminalreporter.line(f"{subject}: {n_agree} of {n_cases} agree")
