"""How the results of a search came about: the chain of swaps from the input, which can be replayed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.children import Swap
from model_src.search.pareto import Individual
from model_src.search.result import SearchResult

Step = dict[str, Any]


def genealogy(result: SearchResult) -> dict[str, Any]:
    """The chain of swaps of every result, as JSON data.

    `steps` lists each swap once: where it was made (iteration, hash and score of parent and child), what went out (node
    ids and operations), what came in (operations, and the segment itself, with which `replay` makes the child anew).
    `results` has for each result the steps from the input on, and for every node of its graph file the step that
    brought it (null: the input's own).
    """
    chains = [_chain(one.found) for one in result.networks]
    steps = {one.identity: one for chain in chains for one in chain}
    number = {identity: position for position, identity in enumerate(steps)}
    return {
        "input": result.source.identity,
        "steps": [_step(one) for one in steps.values()],
        "results": [
            {
                "rank": one.rank,
                "hash": one.found.identity,
                "steps": [number[step.identity] for step in chain],
                "node_origins": _origins(one.node_ids, chain, number),
            }
            for one, chain in zip(result.networks, chains, strict=True)
        ],
    }


def _chain(found: Individual) -> list[Individual]:
    """The networks from the first swap on to a result."""
    chain: list[Individual] = []
    while found.origin is not None:
        chain.append(found)
        found = found.origin.parent
    return chain[::-1]


def _step(child: Individual) -> Step:
    assert child.origin is not None
    parent, swap = child.origin.parent, child.origin.swap
    return {
        "iteration": child.iteration,
        "parent": parent.identity,
        "child": child.identity,
        "parent_score": parent.score,
        "score": child.score,
        "prescreen_score": child.prescreen_score,
        "removed": [[parent.graph.nodes[index].str_id, parent.graph.nodes[index].op_name] for index in swap.indices],
        "inserted": [node.op_name for node in swap.segment.graph.nodes],
        "prefix": child.origin.prefix,
        "swap": swap.state_dict(),
    }


def _origins(node_ids: Sequence[str], chain: Sequence[Individual], number: Mapping[str, int]) -> list[int | None]:
    """Per node, the position of the step whose prefix its id begins with."""
    steps = {one.origin.prefix: number[one.identity] for one in chain if one.origin}
    return [next((step for prefix, step in steps.items() if node_id.startswith(prefix)), None) for node_id in node_ids]


def replay(source: ComputeGraph, steps: Sequence[Step]) -> ComputeGraph:
    """Make a result anew from the input and its steps.

    Raises:
        ValueError: See `stages`.
    """
    return [source, *stages(source, steps)][-1]


def stages(source: ComputeGraph, steps: Sequence[Step]) -> Iterator[ComputeGraph]:
    """The networks that lead from the input to a result, one per step.

    Raises:
        ValueError: A step does not fit the network that it is applied to, or gives another one than it says.
    """
    graph = source
    for number, step in enumerate(steps):
        try:
            graph = Swap.from_state_dict(step["swap"]).apply(graph, step["prefix"])
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"step {number} cannot be replayed ({type(error).__name__}: {error})") from error
        if (found := canonical_hash(graph)) != step["child"]:
            raise ValueError(f"step {number} gives {found}, not {step['child']}")
        yield graph
