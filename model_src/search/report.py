"""What a search leaves behind: corrected networks, tables, text report, pictures."""

import csv
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_src.comp_graph.draw import DrawingError, draw_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream
from model_src.files import atomic_write, save_pickle, save_text
from model_src.propagation.milp import Statistics
from model_src.search.changes import changed_segments
from model_src.search.pareto import Individual
from model_src.search.run_manager import SearchResult

logger = logging.getLogger(__name__)

Groups = Sequence[Sequence[int]]


@dataclass(frozen=True)
class RankedNetwork:
    """A network of the final set: rank 0 has the best score; `graph` is the corrected network."""

    rank: int
    found: Individual
    graph: ComputeGraph


def rank_networks(result: SearchResult, h: int, w: int, c: int) -> list[RankedNetwork]:
    """Correct every network of the front for an h x w x c input; one that cannot be corrected stays as it is."""
    ranked = []
    for rank, found in enumerate(result.front):
        try:
            graph = correct_cg_for_downstream(found.graph, h, w, c)
        except ValueError as error:
            logger.warning("rank %d: kept uncorrected: %s", rank, error)
            graph = found.graph
        ranked.append(RankedNetwork(rank, found, graph))
    return ranked


def save_networks(ranked: Sequence[RankedNetwork], folder: Path) -> None:
    """Write `rank_{i}.pkl`, one computation graph each."""
    for network in ranked:
        save_pickle(network.graph, folder / f"rank_{network.rank}.pkl")


def pareto_rows(result: SearchResult, ranked: Sequence[RankedNetwork]) -> list[dict[str, str | int]]:
    """One row per network of the final set, the input first; changes are relative to the input."""
    source, objectives = result.source, result.objectives
    networks = [("input", "", source, source.graph.n_nodes)]
    networks += [(one.rank, f"rank_{one.rank}.pkl", one.found, one.graph.n_nodes) for one in ranked]
    return [
        {
            "rank": rank,
            "file": file,
            "score": f"{found.score:.6f}",
            "score_change_percent": f"{objectives.score_gain(found.score):.4f}",
            "mflops": f"{found.mflops:.6f}",
            "mflops_change_percent": f"{0 - objectives.flops_decrease(found.mflops):.4f}",
            "nodes": n_nodes,
            "nodes_change": n_nodes - source.graph.n_nodes,
            "iteration": found.iteration,
            "hash": found.identity,
        }
        for rank, file, found, n_nodes in networks
    ]


def save_pareto_csv(rows: Sequence[dict], path: Path) -> None:
    """Write the table as CSV."""
    with atomic_write(path, "w") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def frontier_table(rows: Sequence[dict], accuracy_of: Callable[[float], float | None]) -> str:
    """The table for the terminal.

    Args:
        rows: See `pareto_rows`.
        accuracy_of: Turns a score into an accuracy (fraction), or None where the predictor cannot say.
    """
    lines = [["rank", "score", "change", "MFLOPs", "change", "nodes", "iteration", "accuracy"]]
    for row in rows:
        accuracy = accuracy_of(float(row["score"]))
        lines.append(
            [
                str(row["rank"]),
                f"{float(row['score']):.4f}",
                f"{float(row['score_change_percent']):+.2f} %",
                f"{float(row['mflops']):.2f}",
                f"{float(row['mflops_change_percent']):+.2f} %",
                str(row["nodes"]),
                str(row["iteration"]),
                "-" if accuracy is None else f"{100 * accuracy:.2f} %",
            ]
        )
    if all(line[-1] == "-" for line in lines[1:]):
        lines = [line[:-1] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def save_mutation_result(result: SearchResult, ranked: Sequence[RankedNetwork], path: Path) -> None:
    """Write the text report."""
    source, objectives = result.source, result.objectives
    n_nodes = source.graph.n_nodes
    lines = [
        str([(one.found.score, one.found.mflops, one.found.iteration) for one in ranked]),
        f"User cg perfs: Accuracy {source.score:.4f}, Flops {source.mflops:.4f}, Nodes {n_nodes}",
        f"Number of results: {len(ranked)}",
    ]
    for one in ranked:
        score, mflops = one.found.score, one.found.mflops
        lines.append(
            f"Rank {one.rank}: Accuracy {score:.4f}, Flops {mflops:.4f}, {one.graph.n_nodes} Nodes, "
            f"Iteration {one.found.iteration}, Delta Accuracy {objectives.score_gain(score):.4f}%, "
            f"Delta Flops {0 - objectives.flops_decrease(mflops):.4f}%, Delta Nodes {one.graph.n_nodes - n_nodes}"
        )
    lines += [
        f"Total time: {result.seconds:.1f} s",
        *_propagation_lines(result.propagation),
        f"Total visited architectures: {len(result.visited)}",
        f"Visited architectures without repetition: {result.n_distinct}",
    ]
    save_text("\n".join(lines) + "\n", path)


def _propagation_lines(statistics: Statistics) -> list[str]:
    successes, failures = statistics.successes, statistics.failures
    lines = [
        f"Total calls to MILP: {statistics.calls}",
        f"MILP Success/Fails: {successes.count}/{failures.count}",
    ]
    for name, tally in (("success", successes), ("fail", failures)):
        if tally.count > 1:
            lines.append(f"MILP {name} time: {1e3 * tally.mean:.3f} ± {1e3 * tally.deviation:.3f} ms")
    calls = max(statistics.calls, 1)
    for name, count in (("conv", statistics.conv), ("pool", statistics.pool), ("concat", statistics.concat)):
        lines.append(f"Average {name} nodes per call: {count / calls:.3f}")
    return lines


def draw_pareto(result: SearchResult, path: Path) -> None:
    """Write a picture of every accepted network and the front over FLOPs and score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    scores, mflops, iterations = zip(*result.visited, strict=True)
    dots = axes.scatter(mflops, scores, c=iterations, cmap="viridis", s=8, alpha=0.5, linewidths=0, label="accepted")
    front = sorted((one.mflops, one.score) for one in result.front)
    axes.step([f for f, _ in front], [s for _, s in front], "o-", where="post", color="#E24A33", ms=4, label="front")
    source = result.source
    axes.scatter([source.mflops], [source.score], marker="*", s=160, color="black", zorder=3, label="input")
    axes.set(xlabel="FLOPs (millions)", ylabel="predicted score", title=result.source.graph.name)
    axes.legend(loc="upper left")
    figure.colorbar(dots, label="iteration", ticks=range(max(iterations) + 1))
    with atomic_write(path) as file:
        FigureCanvasAgg(figure).print_png(file)


def draw_networks(
    source: ComputeGraph,
    ranked: Sequence[RankedNetwork],
    segments_of: Callable[[ComputeGraph], Groups],
    folder: Path,
    map_in_threads: Callable = map,
) -> None:
    """Draw the input and every result coloured by segment, and every result with only its changed segments coloured.

    Args:
        source: The input network.
        ranked: The results.
        segments_of: Cuts a network into segments.
        folder: Where `input_arch.png`, `rank_{i}.png` and `mutant_{i}.png` go.
        map_in_threads: Something like `map` that may draw several pictures at once.
    """
    groups = segments_of(source)
    jobs = [(source, folder / "input_arch.png", groups)]
    for network in ranked:
        own = segments_of(network.graph)
        changed = set(changed_segments(source, groups, network.graph, own))
        only_changed = [group if position in changed else () for position, group in enumerate(own)]
        jobs.append((network.graph, folder / f"rank_{network.rank}.png", own))
        jobs.append((network.graph, folder / f"mutant_{network.rank}.png", only_changed))
    for _ in map_in_threads(_draw, jobs):
        pass


def _draw(job: tuple[ComputeGraph, Path, Groups]) -> None:
    try:
        draw_cg(*job)
    except DrawingError as error:
        logger.warning("no picture: %s", error)
