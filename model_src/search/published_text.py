"""The published text report of a search."""

from model_src.propagation.milp import Statistics
from model_src.search.report import change_cell
from model_src.search.result import SearchResult


def mutation_text(result: SearchResult) -> str:
    """The published text report: every result against the input, counts and times."""
    source, goal = result.source, result.goal
    n_nodes = source.graph.n_nodes
    lines = [
        str([(one.found.score, one.found.mflops, one.found.iteration) for one in result.networks]),
        f"User cg perfs: Accuracy {source.score:.4f}, Flops {source.mflops:.4f}, Nodes {n_nodes}",
        f"Number of results: {len(result.networks)}",
    ]
    for one in result.networks:
        score, mflops = one.found.score, one.found.mflops
        lines.append(
            f"Rank {one.rank}: Accuracy {score:.4f}, Flops {mflops:.4f}, {one.graph.n_nodes} Nodes, "
            f"Iteration {one.found.iteration}, Delta Accuracy {goal.score_gain(score):.4f}%, "
            f"Delta Flops {change_cell(goal.windows[goal.flops], mflops)}%, Delta Nodes {one.graph.n_nodes - n_nodes}"
        )
    for one, distance in zip(result.networks, result.distances, strict=False):  # of an input with weights
        if one.inherited:
            lines.append(f"Rank {one.rank}: {one.inherited.summary} layers inherited, output differs by {distance:.2f}")
    lines += [
        f"Total time: {result.seconds:.1f} s",
        *_propagation_lines(result.propagation),
        f"Total visited architectures: {len(result.visited)}",
        f"Visited architectures without repetition: {result.n_distinct}",
    ]
    return "\n".join(lines) + "\n"


def _propagation_lines(statistics: Statistics) -> list[str]:
    successes, failures = statistics.successes, statistics.failures
    lines = [
        f"Total calls to MILP: {statistics.calls}",
        f"MILP Success/Fails: {successes.count}/{failures.count}",
        f"Calls that failed before the MILP: {statistics.forward_failures}",
    ]
    if statistics.unproven:
        lines.append(f"MILP fails without proof: {statistics.unproven}")
    for name, tally in (("success", successes), ("fail", failures)):
        if tally.count > 1:
            lines.append(f"MILP {name} time: {1e3 * tally.mean:.3f} ± {1e3 * tally.deviation:.3f} ms")
    calls = max(statistics.calls, 1)
    for name, count in (("conv", statistics.conv), ("pool", statistics.pool), ("concat", statistics.concat)):
        lines.append(f"Average {name} nodes per call: {count / calls:.3f}")
    return lines
