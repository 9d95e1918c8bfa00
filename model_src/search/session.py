"""A search from Python: a network and a configuration in, better and cheaper networks out. No files, no prints."""

from collections.abc import Callable, Mapping, Sequence

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.weights import NodeWeights, WeightedGraph
from model_src.processes import TaskError
from model_src.profiling.meter import Meter
from model_src.search import invariants
from model_src.search.config import SearchConfig, workers_of
from model_src.search.costing import meters_of
from model_src.search.feedback import Measure, MeasuredNetwork
from model_src.search.journal import Journal
from model_src.search.result import SearchResult
from model_src.search.run import OutOfTimeError, Progress, SearchRun, with_run_normalisers
from model_src.search.strategy import ParetoStrategy, Strategy
from model_src.search.workers import Workers


def search(
    graph: ComputeGraph,
    config: SearchConfig,
    strategy: Strategy | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    workers: Workers | None = None,
    measure: Measure | None = None,
    known: Sequence[MeasuredNetwork] = (),
    weights: NodeWeights | None = None,
    journal: Journal | None = None,
    meters: Mapping[str, Meter] | None = None,
) -> SearchResult:
    """Search for networks that are better and cheaper than `graph`.

    A keyboard interrupt, or a network whose mutation kills every process, ends the search and returns what was found
    so far, with the error in `SearchResult.stopped_by`.

    Args:
        graph: The input network.
        config: How long, how widely and with what to search.
        strategy: Whom to mutate and what to keep; None is the published one.
        on_progress: Called after every mutated network.
        workers: Where mutations run; None makes those of the configuration.
        measure: Measures results after every round, see `SearchConfig.measure`; None for no measuring.
        known: Networks whose accuracies are known before, the input among them.
        weights: Of the input, by node id (see `WeightedGraph`); results inherit them.
        journal: Keeps every iteration; those that are in it already are not done again.
        meters: Name of objective -> measures it; None makes those of the configuration.

    Raises:
        InputError: A file cannot be used, a name is unknown, no segment of the input may be replaced, or the weights
            are not those of the input's layers.
    """
    if weights is not None:
        from model_src.comp_graph.networks.initial import check_weights  # loads PyTorch

        check_weights(WeightedGraph(graph, weights))
    if workers is None:
        with workers_of(config) as own:
            return search(graph, config, strategy, on_progress, own, measure, known, weights, journal, meters)
    strategy = strategy or ParetoStrategy(config.top_k, config.max_swaps, config.rescore_per_iter)
    meters = meters_of(config) if meters is None else meters
    run = SearchRun(with_run_normalisers(graph), config, strategy, workers, on_progress, meters)
    run.result.weights = weights
    try:
        run.learn_from(measure, known)
        _iterate(run, config, journal)
        run.measure_front()
    except (KeyboardInterrupt, TaskError) as error:
        run.result.stopped_by = error
    result = run.so_far()
    invariants.check(result)
    return result


def _iterate(run: SearchRun, config: SearchConfig, journal: Journal | None) -> None:
    """Do all rounds, as far as budget and time allow."""
    turns = journal.turns(run.result.source) if journal else iter(())
    try:
        for first in range(1, config.rounds * config.epoch + 1, config.epoch):
            goes_on = all(
                run.iterate(iteration, next(turns, None), journal) for iteration in range(first, first + config.epoch)
            )
            run.measure()
            if not goes_on:
                break
    except OutOfTimeError:
        run.result.out_of_time = True
