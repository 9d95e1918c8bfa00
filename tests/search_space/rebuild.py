"""What the tests of the families share: the reference networks, and how figures of networks are counted."""

import gzip
import json
from collections import Counter

from model_src.comp_graph.tf_comp_graph import ComputeGraph


def reference_networks(reference, family):
    """(config, traced graph) of every reference network of a family."""
    with gzip.open(reference / "families" / f"{family}.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["config"], ComputeGraph.from_state_dict(row["graph"])


def content(cg):
    """Everything that two graphs share that were built alike; only the ids of the nodes are free."""
    nodes = [{**node.state_dict(), "str_id": None, "kind": node.type_idx} for node in cg.nodes]
    return nodes, cg.edge_pairs, cg.input_shape, cg.normalisers


def figures(cg):
    """(nodes, edges, weights, multiply-accumulates of the weighted nodes)."""
    sizes = [
        node.shape[0] * node.shape[1] * max(node.shape[2], 1) * max(node.shape[3], 1) for node in cg.weighted_nodes
    ]
    maps = [node.out_shape[0] * node.out_shape[1] for node in cg.weighted_nodes]
    work = sum(size * pixels for size, pixels in zip(sizes, maps, strict=True))
    return cg.n_nodes, len(cg.edge_pairs), sum(sizes), work


def ops(cg):
    """Number of nodes by operation."""
    return Counter(node.label.rsplit("_", 1)[0] if node.label[-1].isdigit() else node.label for node in cg.nodes)
