"""How long drawings of large networks take, as PNG and SVG."""

import tempfile
from functools import partial
from pathlib import Path

from harness import ROOT, Row, run, seconds_of

from model_src.comp_graph.draw import draw_cg
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search_space.graph_builder import GraphBuilder

REPEATS, BLOCKS = 3, 57


def deep_network() -> ComputeGraph:
    """57 residual blocks: 404 nodes."""
    builder = GraphBuilder("deep")
    x = builder.conv(builder.input(), 32, 3)
    for _ in range(BLOCKS):
        y = builder.relu(builder.batchnorm(builder.conv(x, 32, 3)))
        x = builder.relu(builder.add(x, builder.batchnorm(builder.conv(y, 32, 3))))
    return builder.classifier(x, dropout=False)


def measure() -> list[Row]:
    """Wall times of both files together."""
    rows = []
    for cg in (load_cg(ROOT / "architectures" / "samples" / "resnet101" / "resnet101.pkl"), deep_network()):
        groups = [range(first, min(first + 5, cg.n_nodes)) for first in range(0, cg.n_nodes, 5)]
        with tempfile.TemporaryDirectory() as folder:
            draw = partial(draw_cg, cg, Path(folder, "one.png"), groups)
            times = tuple(seconds_of(draw) for _ in range(REPEATS))
        rows.append(Row(f"PNG and SVG of `{cg.name}`, {cg.n_nodes} nodes", "s", times, 5))
    return rows


if __name__ == "__main__":
    run(measure, __doc__)
