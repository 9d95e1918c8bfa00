"""Rules that every network from a file must keep; each broken once, by name."""

import json
import os
import pickle
import time

import numpy as np
import pytest
import torch

import constants
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.moves import CHOICES
from model_src.comp_graph.ops import OPERATIONS
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.validate import validate
from model_src.families import with_networks
from model_src.files import InputError, save_pickle

SHIPPED = sorted((constants.ROOT / "architectures").rglob("*.pkl"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_networks_are_valid(path):
    validate(load_cg(path))


@pytest.mark.parametrize("family", with_networks(), ids=lambda family: family.name)
def test_sampled_networks_are_valid(family):
    rng = np.random.default_rng(0)
    space = family.load()
    for number in range(8):
        validate(space.build(space.sample(rng), f"net {number}"))


@pytest.fixture
def state():
    """A convolution (3x3, stride 2) of a 3x8x6 image, its sum with a 1x1 one, and both side by side, as JSON data."""

    def node(str_id, label, index, before, after, **fields):
        resolution = [number for pair in zip(before, after, strict=True) for number in pair]
        return {
            "str_id": str_id, "label": label, "op_type_idx": index, "resolution": resolution, "strides": None,
            "metadata": None, **fields,
        }  # fmt: skip

    image, halved, both = (8, 6, 3), (4, 3, 5), (4, 3, 10)
    same = {"padding": "same", "use_bias": True}
    return {
        "name": "small",
        "input_shape": [1, 8, 6, 3],
        "max_hidden_size": 10, "max_kernel_size": 3, "max_derived_H": 8, "max_derived_W": 6,
        "weighted_nodes": [
            node("a", "conv2d", 3, image, halved, strides=[1, 2, 2, 1], metadata=same, shape=[3, 5, 3, 3]),
            node("b", "conv2d_1", 3, image, halved, strides=[1, 2, 2, 1], metadata=same, shape=[3, 5, 1, 1]),
        ],
        "regular_nodes": [
            node("in", "input", 1, image, image),
            node("sum", "addn", 9, halved, halved),
            node("cat", "concat", 11, halved, both),
            node("out", "output", 2, both, both),
        ],
        "edge_pairs": [[2, 0], [2, 1], [0, 3], [1, 3], [3, 4], [1, 4], [4, 5]],
    }  # fmt: skip


def test_the_small_network_is_valid(state):
    validate(ComputeGraph.from_state_dict(state))


BROKEN = {
    "zero": (("weighted_nodes", 0, "resolution", 0), 0, "node a .*resolution .* is not six numbers from 1"),
    "null": (("weighted_nodes", 0, "resolution", 1), None, "node a .*resolution"),
    "fraction": (("regular_nodes", 1, "resolution", 3), 2.5, "node sum .*resolution"),
    "true": (("regular_nodes", 1, "resolution", 3), True, "node sum .*resolution"),
    "text": (("regular_nodes", 1, "resolution"), "8,8,6,6,3,3", "node sum .*resolution"),
    "short": (("regular_nodes", 1, "resolution"), [4, 4], "node sum .*resolution"),
    "huge": (("regular_nodes", 1, "resolution", 0), 10**9, "node sum .*resolution"),
    "large": (("regular_nodes", 1, "resolution"), [65536] * 6, "node sum .*more than 2147483648 numbers"),
    "operation 999": (("regular_nodes", 1, "op_type_idx"), 999, "node sum .*index"),
    "operation -1": (("regular_nodes", 1, "op_type_idx"), -1, "node sum .*index"),
    "operation by name": (("regular_nodes", 1, "op_type_idx"), "add", "node sum .*'add' is no number"),
    "unknown operation": (("regular_nodes", 1, "label"), "frobnicate", "node sum .*label|frobnicate"),
    "stride 0": (("weighted_nodes", 0, "strides", 1), 0, "node a .*strides"),
    "stride over images": (("weighted_nodes", 0, "strides", 0), 2, "node a .*strides"),
    "stride 1.5": (("weighted_nodes", 0, "strides", 1), 1.5, "node a .*strides"),
    "another stride": (("weighted_nodes", 0, "strides", 2), 1, "node a .*a 8x6 map becomes 4x6, not 4x3"),
    "negative kernel": (("weighted_nodes", 0, "shape", 2), -3, "node a .*kernel"),
    "kernel of other channels": (("weighted_nodes", 0, "shape", 0), 4, "node a .*kernel is .4, 5, 3, 3."),
    "dilation": (("weighted_nodes", 0, "metadata"), {"dil_rate": 1 << 20}, "node a .*border .*2147483648 numbers"),
    "dilation of truths": (("weighted_nodes", 0, "metadata"), {"dilations": [1, True, 1, 1]}, "node a .*its dilation"),
    "groups": (("weighted_nodes", 0, "metadata"), {"groups": 2}, "node a .*not 2 equal groups"),
    "padding": (("weighted_nodes", 0, "metadata"), {"padding": "valid"}, "node a .*a 8x6 map becomes 3x2, not 4x3"),
    "metadata": (("weighted_nodes", 0, "metadata"), {"ksize": [[[[[1]]]]]}, "lists in lists"),
    "nan": (("weighted_nodes", 0, "metadata"), {"alpha": float("nan")}, "node a .*metadata"),
    "channels passed on": (("regular_nodes", 1, "resolution", 5), 6, "node sum .*passes channels on, and has 5 and 6"),
    "sum of others": (("regular_nodes", 1, "resolution"), [4, 4, 3, 3, 6, 6], "node sum .*joins|node cat .*joins 11"),
    "concat of others": (("regular_nodes", 2, "resolution", 5), 9, "node cat .*joins 10 channels and says 9"),
    "another map": (
        ("weighted_nodes", 0, "resolution"),
        [7, 4, 6, 3, 3, 5],
        "node a .*takes 7x6 maps, node in gives 8x6",
    ),
    "too few channels": (
        ("weighted_nodes", 0),
        {"resolution": [8, 4, 6, 3, 4, 5], "shape": [4, 5, 3, 3]},
        "node a .*needs 4 channels and gets 3",
    ),
    "same id": (("weighted_nodes", 1, "str_id"), "a", "two nodes have the id 'a'"),
    "long id": (("weighted_nodes", 1, "str_id"), "a" * 1001, "more than 1000 characters"),
    "long name": (("name",), "a" * 1001, "its name is no text of at most 1000 characters"),
    "normaliser": (("max_hidden_size",), 0, "max_hidden_size 0 is no number from 1 on"),
    "input shape": (("input_shape",), [2, 8, 6, 3], "input shape .2, 8, 6, 3. is not .1, H, W, C."),
    "input shape of others": (("input_shape",), [1, 8, 6, 1], "node in .*takes .8, 6, 3., .* is .1, 8, 6, 1."),
    "no node": (("regular_nodes", 1), 7, "not a computation graph"),
    "convolution among others": (("regular_nodes", 1, "op_type_idx"), 3, "node sum"),
    "half an edge": (("edge_pairs", 0, 1), 0.5, "not a computation graph"),
    "edge to nowhere": (("edge_pairs", 0, 1), 6, "edge leaves the range"),
    "edge from below": (("edge_pairs", 0, 0), -1, "edge leaves the range"),
    "cycle": (("edge_pairs", 6), [4, 3], "cycle"),
    "loose": (("edge_pairs", 1), [2, 0], "expected one input node, found 2"),
    "two ends": (("edge_pairs", 4), [2, 0], "found 2"),
}  # fmt: skip


@pytest.mark.parametrize(("place", "value", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_named(state, tmp_path, place, value, reason):
    *way, last = place
    part = state
    for key in way:
        part = part[key]
    if isinstance(value, dict) and last != "metadata":
        part[last] |= value
    else:
        part[last] = value
    path = tmp_path / "net.json"
    path.write_text(json.dumps(state))
    with pytest.raises(InputError, match=f"net.json: .*({reason})") as caught:
        load_cg(path)
    assert len(str(caught.value).splitlines()) == 1


class Reduced:
    """Pickles as a call of the class, which passes by what `__setstate__` checks."""

    def __init__(self, kind, *arguments):
        self.call = kind, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "arguments",
    [
        ("net", (1, 8, 8, 3), 5, (), ()),
        ("net", (1, 8, 8, 3), (), ("node",), ()),
        ("net", (1, 8, 8, 3), (), (), ((0, 1),)),
        ("net", (1, 8, 8, 3), (), (), "edges"),
        (b"net", (1, 8, 8, 3), (), (), ()),
    ],
)
def test_a_pickle_that_calls_the_class_is_checked(tmp_path, arguments):
    path = tmp_path / "net.pkl"
    save_pickle(Reduced(ComputeGraph, *arguments), path)
    with pytest.raises(InputError, match=r"net\.pkl: "):
        load_cg(path)


def test_a_pickle_without_content_is_refused(tmp_path):
    path = tmp_path / "net.pkl"
    name = b"model_src.comp_graph.tf_comp_graph"
    path.write_bytes(b"\x80\x02c" + name + b"\nComputeGraph\n)\x81.")
    assert pickle.loads(path.read_bytes()).__dict__ == {}
    with pytest.raises(InputError, match=r"net\.pkl: the graph lacks its edge_pairs"):
        load_cg(path)


def laughing(depth=40):
    """Lists of which each holds the former twice: a small file, and more entries than there is memory for."""
    found = [1, 2]
    for _ in range(depth):
        found = [found, found]
    return found


PLACES = [
    *(("name",), ("input_shape",), ("regular_nodes", 1, "metadata", "padding")),
    *(("weighted_nodes", 0, field) for field in ("str_id", "label", "resolution", "shape")),
]


@pytest.mark.parametrize("place", PLACES)
def test_what_grows_when_it_is_read_is_refused(state, tmp_path, monkeypatch, place):
    def built(kind, content):
        found = object.__new__(kind)
        found.__dict__["content"] = content
        return found

    *way, last = place
    state["regular_nodes"][1]["metadata"] = {}
    part = state
    for key in way:
        part = part[key]
    part[last] = laughing()
    for kind, nodes in ((WeightedNode, "weighted_nodes"), (RegularNode, "regular_nodes")):
        state[nodes] = [built(kind, one) for one in state[nodes]]
    path = tmp_path / "net.pkl"
    with monkeypatch.context() as patched:
        for kind in (ComputeGraph, RegularNode):
            patched.setattr(kind, "__getstate__", lambda self: self.__dict__["content"])
        save_pickle(built(ComputeGraph, state), path)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"net\.pkl: "):
        load_cg(path)


def test_a_pipe_is_no_file(tmp_path):
    path = tmp_path / "net.pkl"
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"net\.pkl: not a regular file"):
        load_cg(path)


def test_three_hundred_nodes_take_little_time():
    largest = max(map(load_cg, SHIPPED), key=lambda cg: cg.n_nodes)
    assert largest.n_nodes > 300
    times = []
    for _ in range(5):
        started = time.process_time()
        validate(largest)
        times.append(time.process_time() - started)
    assert min(times) < 0.02  # 3 ms on a quiet machine


def with_one_node(name: str, resolution: tuple[int, ...], metadata: dict) -> ComputeGraph:
    """A network of one node between its ends."""
    ends = tuple(resolution[::2]), tuple(resolution[1::2])
    first, last = (RegularNode(kind, OPERATIONS[kind].label, OPERATIONS[kind].index, (h, h, w, w, c, c))
                   for kind, (h, w, c) in zip(("input", "output"), ends, strict=True))  # fmt: skip
    node = RegularNode("one", OPERATIONS[name].label, OPERATIONS[name].index, resolution, None, metadata)
    return ComputeGraph.from_nodes("net", (1, *ends[0]), [first, node, last], [(0, 1), (1, 2)])


CHOSEN = {
    "depthtospacend": (2, 4, 2, 4, 8, 2),
    "paddings": (4, 4, 4, 4, 2, 2),
    "resize": (2, 4, 2, 4, 3, 3),
    "spacetodepthnd": (4, 2, 4, 2, 2, 8),
}


@pytest.mark.parametrize(("operation", "name"), [(op, name) for op, names in CHOICES.items() for name in names])
@pytest.mark.parametrize("value", [None, "none", 7, (1, 2)])
def test_a_choice_that_nobody_offers_is_named(operation, name, value):
    factors = {"factor_h": (2, 1), "factor_w": (2, 1)} if operation == "resize" else {}
    for allowed in CHOICES[operation][name]:
        validate(with_one_node(operation, CHOSEN[operation], {name: allowed, **factors}))
    with pytest.raises(ValueError, match=f"node one .*its {name} is none of"):
        validate(with_one_node(operation, CHOSEN[operation], {name: value, **factors}))


@pytest.mark.parametrize(("mode", "most"), [("reflect", 3), ("wrap", 4), ("edge", 9), ("constant", 9)])
def test_a_border_repeats_pixels_that_are_there(mode, most):
    def padded(pad):
        return with_one_node("paddings", (4, 4 + pad, 4, 4, 2, 2), {"pad_h": (pad, 0), "mode": mode})

    validate(padded(most))
    assert TorchNetwork(padded(most), squeeze_output=False)(torch.zeros(1, 2, 4, 4)).shape[2] == 4 + most
    if mode in ("reflect", "wrap"):
        with pytest.raises(ValueError, match=f"node one .*a border of {most + 1} pixels cannot {mode} a map of 4"):
            validate(padded(most + 1))


WRONG = {
    "negative epsilon": ("batchnorm", (4, 4, 4, 4, 2, 2), {"epsilon": -0.001}, "its epsilon -0.001 is too small"),
    "no float32": ("leakyrelu", (4, 4, 4, 4, 2, 2), {"alpha": 1e300}, "its alpha 1e.300 is too large"),
    "no float32 below": ("clip", (4, 4, 4, 4, 2, 2), {"min": -1e39}, "its min -1e.39 is too small"),
    "lrn below 1": ("lrn", (4, 4, 4, 4, 2, 2), {"size": -1}, "its size -1 is no odd number of channels"),
    "lrn of one side more": ("lrn", (4, 4, 4, 4, 2, 2), {"size": 4}, "its size 4 is no odd number of channels"),
    "lrn of a fraction": ("lrn", (4, 4, 4, 4, 2, 2), {"size": 2.5}, "its size 2.5 is no odd number of channels"),
    "lrn of very many": (
        "lrn",
        (4, 4, 4, 4, 2, 2),
        {"size": 1 << 30},
        "is no odd number of channels, or too large",
    ),
    "channels in front": ("pad_channels", (4, 4, 4, 4, 2, 4), {"before": 3}, "3 channels in front of 2 do not give 4"),
    "half a channel": ("pad_channels", (4, 4, 4, 4, 2, 4), {"before": 0.5}, "0.5 channels in front"),
    "fewer channels": ("pad_channels", (4, 4, 4, 4, 2, 1), {}, "do not give 1"),
    "blocks of other channels": ("depthtospacend", (2, 4, 2, 4, 8, 3), {}, "not those of blocks"),
    "blocks the other way": ("depthtospacend", (4, 2, 4, 2, 2, 8), {}, "not those of blocks"),
    "pixels the other way": ("spacetodepthnd", (2, 4, 2, 4, 8, 2), {}, "not those of blocks"),
}


@pytest.mark.parametrize(("operation", "resolution", "metadata", "reason"), WRONG.values(), ids=WRONG)
def test_an_operation_that_cannot_be_built_is_named(operation, resolution, metadata, reason):
    with pytest.raises(ValueError, match=f"node one .*{reason}"):
        validate(with_one_node(operation, resolution, metadata))
