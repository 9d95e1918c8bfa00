"""Training of a search's results, best first, with results on disk after every run (search, sections 11 and 12)."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.files import InputError, load_json, save_text
from model_src.training.cifar10 import RunResult, TrainConfig, train_network
from model_src.training.cifar10_data import Cifar10

logger = logging.getLogger(__name__)

JSON_NAME = "train_result.json"
TEXT_NAME = "train_result.txt"


class FrontierNetwork(NamedTuple):
    """A network to train: its rank (0 is best, None the search's input), graph and the iteration that found it."""

    rank: int | None
    graph: ComputeGraph
    iteration: int


@dataclass(frozen=True)
class FrontierConfig:
    """What of the results to train.

    Attributes:
        recipe: How to train.
        n_networks: Networks to train successfully, in rank order; None for all.
        n_runs: Trainings of each, with seeds 0, 1, ...
        train_input: Train the input as well.
        first_iteration: Results of earlier iterations are left out.
    """

    recipe: TrainConfig = TrainConfig()
    n_networks: int | None = None
    n_runs: int = 3
    train_input: bool = False
    first_iteration: int = 0


@dataclass
class TrainedNetwork:
    """The trainings of one network; `rank` is None for the input, `failure` says why it could not be trained."""

    rank: int | None
    name: str
    graph_hash: str
    mflops: float
    n_nodes: int
    iteration: int
    runs: list[RunResult] = field(default_factory=list)
    failure: str | None = None

    @property
    def title(self) -> str:
        """The name in messages."""
        return "input" if self.rank is None else f"rank {self.rank}"

    def accuracies(self, n_runs: int) -> list[float]:
        """Last-epoch test accuracy (fraction) of every run, or -1 for each of `n_runs` where the network failed."""
        return [-1.0] * n_runs if self.failure else [run.last_accuracy for run in self.runs]


@dataclass
class FrontierResult:
    """All trainings so far, the input's first; `source` is the input, whether it was trained or not."""

    source: TrainedNetwork
    trained: list[TrainedNetwork] = field(default_factory=list)

    @property
    def best(self) -> TrainedNetwork | None:
        """The result with the highest mean accuracy over its runs; None where there is none."""
        candidates = [one for one in self.trained if one.rank is not None and one.runs and not one.failure]
        return max(candidates, key=lambda one: fmean(one.accuracies(0)), default=None)


def train_frontier(
    networks: Sequence[FrontierNetwork],
    source: ComputeGraph,
    config: FrontierConfig,
    data: Cifar10,
    out_dir: str | Path,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> FrontierResult:
    """Train a search's results in rank order and write `train_result.json` and `.txt` after every run.

    Runs of the same graph and recipe that an earlier call left in `out_dir` are not repeated. A network that fails is
    recorded with the reason, and the next one takes its place.

    Args:
        networks: The results.
        source: The input of the search, corrected as the results are.
        config: What to train and how.
        data: The images.
        out_dir: The folder of the result files.
        device: Where to train; None takes the GPU if there is one.
        progress: Show a bar per run.

    Raises:
        InputError: `out_dir` holds a `train_result.json` that is not one.
    """
    out_dir = Path(out_dir)
    known = _earlier_runs(out_dir / JSON_NAME, config.recipe)
    result = FrontierResult(_untrained(FrontierNetwork(None, source, 0)))
    for network in _queue(networks, source, config):
        if network.rank is not None and _n_successes(result) == config.n_networks:
            break
        record = _untrained(network) if network.rank is not None else result.source
        result.trained.append(record)
        for seed in range(config.n_runs):
            run = known.get((record.graph_hash, seed))
            try:
                record.runs.append(
                    run or train_network(network.graph, config.recipe, seed, data, device, progress, record.title)
                )
            except (ValueError, RuntimeError, MemoryError) as error:  # RuntimeError is PyTorch's, out of memory too
                record.failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
                logger.warning("%s is not trained: %s", record.title, record.failure)
            save_results(result, config, out_dir)
            if record.failure:
                break
    save_results(result, config, out_dir)
    return result


def _queue(
    networks: Sequence[FrontierNetwork], source: ComputeGraph, config: FrontierConfig
) -> Iterator[FrontierNetwork]:
    if config.train_input:
        yield FrontierNetwork(None, source, 0)
    for network in sorted(networks, key=lambda network: network.rank):
        if network.iteration >= config.first_iteration:
            yield network


def _n_successes(result: FrontierResult) -> int:
    return sum(one.rank is not None and not one.failure for one in result.trained)


def _untrained(network: FrontierNetwork) -> TrainedNetwork:
    rank, graph, iteration = network
    mflops = compute_cg_flops(graph, OP2I().build_from_file(), allow_zero=True)
    return TrainedNetwork(rank, graph.name, canonical_hash(graph), mflops, graph.n_nodes, iteration)


def _earlier_runs(path: Path, recipe: TrainConfig) -> dict[tuple[str, int], RunResult]:
    """(graph, seed) -> run of an earlier call with the same recipe."""
    if not path.exists():
        return {}
    content = load_json(path)
    try:
        if content["recipe"] != asdict(recipe):
            return {}
        runs = [(one["graph_hash"], RunResult(**run)) for one in content["trained"] for run in one["runs"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a training result ({type(error).__name__}: {error})") from error
    return {(graph_hash, run.seed): run for graph_hash, run in runs}


def save_results(result: FrontierResult, config: FrontierConfig, out_dir: Path) -> None:
    """Write `train_result.json`, with everything, and `train_result.txt`, with the published lines."""
    best = result.best
    content = {
        "recipe": asdict(config.recipe),
        "source": asdict(result.source),
        "trained": [asdict(one) for one in result.trained],
        "best_rank": best.rank if best else None,
    }
    save_text(json.dumps(content, indent=1) + "\n", out_dir / JSON_NAME)
    save_text(_report(result, config.n_runs), out_dir / TEXT_NAME)


def _report(result: FrontierResult, n_runs: int) -> str:
    """Accuracies of the input and of the results, the best result, and what failed why."""
    source = result.source
    of_source = source.accuracies(n_runs) if source in result.trained else None
    of_results = [one.accuracies(n_runs) for one in result.trained if one.rank is not None]
    best = result.best
    lines = [str([of_source, of_results]), str(best and _best_line(best, source))]
    lines += [f"Failed: {one.title}: {one.failure}" for one in result.trained if one.failure]
    return "\n".join(lines) + "\n"


def _best_line(best: TrainedNetwork, source: TrainedNetwork) -> str:
    change = f"{100 * (best.mflops - source.mflops) / source.mflops:.4f}%" if source.mflops else "unknown"
    return (
        f"Best: Rank {best.rank}, Accuracy {fmean(best.accuracies(0)):.4f}, Flops {best.mflops:.4f}, "
        f"Delta Flops {change}, Iteration {best.iteration}, {best.n_nodes} Nodes, "
        f"Delta Nodes {best.n_nodes - source.n_nodes}"
    )
