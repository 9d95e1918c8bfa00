"""The trainings of a search's results: everything as JSON data, and the published text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol

from model_src.files import InputError
from model_src.training.recipe import Recipe, RunResult, TrainConfig

# What version 0.1, which had one recipe, did not write.
_FIRST_RECIPE = {"name": TrainConfig.name, "held_out": TrainConfig.held_out}


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

    @property
    def summary(self) -> str:
        """Last-epoch and best test accuracy, mean and standard deviation over the runs, in percent."""
        last, best = (_spread([getattr(run, f"{kind}_accuracy") for run in self.runs]) for kind in ("last", "best"))
        count = f"{len(self.runs)} run{'s' if len(self.runs) > 1 else ''}"
        return f"{self.title}: last epoch {last}, best epoch {best} ({count}, {self.mflops:.1f} MFLOPs)"


@dataclass
class FrontierResult:
    """All trainings so far, the input's first; `source` is the input, whether it was trained or not."""

    source: TrainedNetwork
    trained: list[TrainedNetwork] = field(default_factory=list)

    @property
    def finished(self) -> list[TrainedNetwork]:
        """The networks that have runs and did not fail."""
        return [one for one in self.trained if one.runs and not one.failure]

    @property
    def best(self) -> TrainedNetwork | None:
        """The result with the highest mean accuracy over its runs; None where there is none."""
        candidates = [one for one in self.finished if one.rank is not None]
        return max(candidates, key=lambda one: fmean(one.accuracies(0)), default=None)

    @property
    def summaries(self) -> list[str]:
        """A line per network: its accuracies, or why it could not be trained."""
        finished = self.finished
        return [one.summary if one in finished else f"{one.title}: {one.failure}" for one in self.trained]


class TrainingStore(Protocol):
    """Where trainings are kept, such as a result folder."""

    @property
    def trainings_path(self) -> Path:
        """What messages name."""

    def state_path(self, graph_hash: str, recipe: Mapping[str, Any], seed: int) -> Path:
        """Where a training is kept after every epoch, and in the end its weights."""

    def load_trainings(self) -> Any:
        """The JSON data that was saved last; None where there is none."""

    def save_trainings(self, content: Mapping[str, Any], text: str) -> None:
        """Keep JSON data and a text."""


class KeptRuns:
    """Runs of earlier calls and of this one.

    No run is ever lost: those of an earlier call that are no part of this one stay in the store.

    Args:
        store: Where they are kept.
        recipe: Of the runs to come.
        dataset: What they learn from.
        inherits: Whether they begin with inherited weights.

    Raises:
        InputError: The store holds something else.
    """

    def __init__(self, store: TrainingStore, recipe: Recipe, dataset: str, inherits: bool = False):
        self._store, self._recipe = store, recipe.content_on(dataset, inherits)
        self._earlier = _runs_of(store.load_trainings(), store.trainings_path)

    def run_of(self, graph_hash: str, seed: int) -> RunResult | None:
        """The run of an earlier call with the same recipe and data set; None where there is none."""
        for entry in self._earlier:
            if (entry["graph_hash"], entry["recipe"], entry["run"]["seed"]) == (graph_hash, self._recipe, seed):
                return RunResult(**entry["run"])
        return None

    def add(self, graph_hash: str, run: RunResult) -> None:
        """Take in a run, which `save` keeps whether or not its network's turn has come."""
        self._earlier.append({"graph_hash": graph_hash, "recipe": self._recipe, "run": asdict(run)})

    def state_path(self, graph_hash: str, seed: int) -> Path:
        """Where a training is kept after every epoch, and in the end its weights."""
        return self._store.state_path(graph_hash, self._recipe, seed)

    def save(self, result: FrontierResult, n_runs: int) -> None:
        """Keep what there is so far."""
        now = {(one.graph_hash, run.seed) for one in result.trained for run in one.runs}
        best = result.best
        content = {
            "recipe": self._recipe,
            "source": asdict(result.source),
            "trained": [asdict(one) for one in result.trained],
            "best_rank": best.rank if best else None,
            "other_runs": [
                entry
                for entry in self._earlier
                if entry["recipe"] != self._recipe or (entry["graph_hash"], entry["run"]["seed"]) not in now
            ],
        }
        self._store.save_trainings(content, _report(result, n_runs))


def _runs_of(content: Any, path: Path) -> list[dict[str, Any]]:
    """Every run in the stored data: graph_hash, recipe, run."""
    if content is None:
        return []
    try:
        runs = [
            {"graph_hash": one["graph_hash"], "recipe": content["recipe"], "run": run}
            for one in content["trained"]
            for run in one["runs"]
        ]
        runs += content["other_runs"]
        for entry in runs:
            entry["recipe"] = {**_FIRST_RECIPE, **entry["recipe"]}
            asdict(RunResult(**entry["run"])), entry["graph_hash"], entry["recipe"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a training result ({type(error).__name__}: {error})") from error
    return runs


def _report(result: FrontierResult, n_runs: int) -> str:
    """Accuracies of the input and of the results, the best result, and a line for each."""
    source = result.source
    of_source = source.accuracies(n_runs) if source in result.trained else None
    of_results = [one.accuracies(n_runs) for one in result.trained if one.rank is not None]
    best = result.best
    lines = [str([of_source, of_results]), str(best and _best_line(best, source)), *result.summaries]
    return "\n".join(lines) + "\n"


def _best_line(best: TrainedNetwork, source: TrainedNetwork) -> str:
    change = f"{100 * (best.mflops - source.mflops) / source.mflops:.4f}%" if source.mflops else "unknown"
    return (
        f"Best: Rank {best.rank}, Accuracy {fmean(best.accuracies(0)):.4f}, Flops {best.mflops:.4f}, "
        f"Delta Flops {change}, Iteration {best.iteration}, {best.n_nodes} Nodes, "
        f"Delta Nodes {best.n_nodes - source.n_nodes}"
    )


def _spread(fractions: Sequence[float]) -> str:
    deviation = f" ± {100 * stdev(fractions):.2f}" if len(fractions) > 1 else ""
    return f"{100 * fmean(fractions):.2f}{deviation} %"
