"""What every network that was accepted must do: keep its hash, be costed anew, and run at the sizes that it says."""

import math
import tempfile
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.ops import Backend
from model_src.comp_graph.sizes import window_of
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, graph_macs, parameter_count
from model_src.comp_graph.validate import validate
from model_src.files import save_json, save_pickle

MOST_NUMBERS = 1 << 18  # of a map, or of all parameters, in a network that is run
OP2I_TABLE = OP2I().build_from_file()
KERNELS = ("conv", "depthwise", "grouped_conv")


def judge(graph: ComputeGraph) -> None:
    validate(graph)
    identity, macs = canonical_hash(graph), graph_macs(graph)
    flops = compute_cg_flops(graph, OP2I_TABLE)
    assert macs >= 0
    assert math.isfinite(flops)
    with tempfile.TemporaryDirectory() as folder:
        for save, name in ((save_json, "a.json.gz"), (save_pickle, "a.pkl")):
            path = Path(folder) / name
            save(graph.state_dict() if save is save_json else graph, path)
            again = load_cg(path)
            assert canonical_hash(again) == identity
            assert graph_macs(again) == macs
    if is_small(graph) and all(Backend.TORCH in node.operation.backends for node in graph.nodes):
        run(graph)


def is_small(graph: ComputeGraph) -> bool:
    maps = [math.prod(size) for node in graph.nodes for size in (node.in_shape, node.out_shape)]
    maps += [
        window_of(node).area(*node.in_shape[:2]) * node.in_shape[2] for node in graph.nodes if node.operation.has_window
    ]
    sizes = max(maps) * len(maps), parameter_count(graph), graph_macs(graph) >> 8
    return max(sizes) <= MOST_NUMBERS


def run(graph: ComputeGraph) -> None:
    """Its result has the size that its last node says, and its kernels multiply as often as they say."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = build_torch_network(graph, 0, squeeze_output=False).eval()(
            torch.zeros(1, *(graph.input_shape[axis] for axis in (3, 1, 2)))
        )
    h, w, c = graph.nodes[graph.output_index].out_shape
    assert tuple(result.shape) == (1, c, h, w)
    weighted = [node for node in graph.nodes if node.type_idx == 1]
    if all(node.operation.name in KERNELS for node in weighted):
        counts = counter.get_flop_counts().get("Global", {})
        found = sum(count for op, count in counts.items() if "conv" in str(op)) // 2
        own = [node.operation.macs(node) - (math.prod(node.out_shape) if node.use_bias else 0) for node in weighted]
        assert found == sum(own)
