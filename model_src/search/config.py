"""What a search is asked for, and what it loads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from constants import CACHE_DIR, SHIPPED_DIR
from model_src.encoder.paths import vocabulary_files
from model_src.files import InputError
from model_src.processes import LOCAL, Backend
from model_src.search.mutator import MutationConfig, Mutator
from model_src.search.objectives import FLOPS, UNIT, Objective, objectives_of
from model_src.search.workers import Workers

_FILES = vocabulary_files(root=SHIPPED_DIR / "cache_sentence_piece")


_COUNTS = (
    "epoch",
    "top_k",
    "max_candidate_per_iter",
    "max_target_per_iter",
    "num_consecutive_segs",
    "n_jobs",
    "rounds",
    "latency_threads",
    "latency_batch",
    "command_attempts",
    "command_jobs",
)
_AMOUNTS = ("seed", "rescore_per_iter", "caution", "segment_sparsity", "measure")
_LEAST = {**dict.fromkeys(_COUNTS, 1), **dict.fromkeys(_AMOUNTS, 0)}


@dataclass(frozen=True)
class SearchConfig:
    """A search; the attributes are named after autogo.py's flags and have their defaults.

    Attributes:
        model_family: Decides on the operations that mutations may take out and put in.
        predictor_path: Checkpoints of predictors, or folders of them. The first of the kind asked for screens children
            by their own split; all together score whole networks.
        predictor_type: Kind of the predictor that screens, `PSC_predictor` or `GNN`.
        graph_encoder_path: Encoder, node label -> character.
        tokenizer_path: SentencePiece model.
        segment_database_path: Segments to put in.
        graph_encoder_family: `combined`, or a family whose operations are allowed in addition.
        epoch: Iterations.
        top_k: Parents per iteration.
        max_candidate_per_iter: Segments taken out per parent.
        max_target_per_iter: Segments tried in the place of each.
        mutation_unit: `segment` or `op`.
        num_consecutive_segs: Most neighbouring segments taken out at once.
        segment_sparsity: Share (0 to 1) of multi-node pieces left out when a network is cut.
        max_visited_architecture: The search ends after scoring so many networks; None for no limit.
        rescore_per_iter: So many of an iteration's children are scored as whole networks, which alone decides on what
            is kept; 0 decides by the prediction of each child's own split, as published.
        caution: Networks are ranked by mean - caution x deviation of the predictors.
        max_swaps: Results are at most so many swaps away from the input; None for no limit.
        max_score_drop: Results may rank so far below the input: in the unit of the score, or as `0.5pt` in points of
            accuracy.
        objective: What is made smaller: a name of `objectives.OBJECTIVES`, `command:` and a program that tells a cost
            (`{onnx}` among its arguments stands for the network's file), or an objective; or several of these.
        objective_unit: Unit of what such a program tells.
        command_timeout: Seconds that it may take.
        command_attempts: Times that it is tried for a network.
        command_jobs: Networks that it is asked for at a time.
        min_decrease_percent: Results are smaller in the objective by more than this; None means 0. With several
            objectives it holds for each, or is one number for each.
        max_decrease_percent: Likewise, by less than this; None means 20.
        min_flops_decrease_percent: The same for FLOPs, whatever the objective is; both None: no limit on FLOPs.
        max_flops_decrease_percent: See `min_flops_decrease_percent`.
        seed: The same seed gives the same result, whatever the number of workers.
        n_jobs: Worker processes.
        parallel_backend: Where they are: `local` or `ray`.
        ray_address: Of the Ray cluster; None is the one of this machine, or a new one.
        milp_solver: A solver that Pyomo knows; None is HiGHS in this process.
        device_str: `cpu`, `cuda`, ...; None is a GPU if there is one.
        rounds: Times that `epoch` iterations are done; what was measured after a round is learnt from in the next one.
        measure: Results that are measured after each round, in the first one also the input.
        latency_runtime: Where latencies are measured, a name of `runtimes.RUNTIME_NAMES`; None is `onnxruntime` where
            it is installed, otherwise `torch`.
        latency_device: `cpu`, `cuda`, ...
        latency_threads: Threads that a network may use on a CPU.
        latency_batch: Images at a time.
        latency_table: Table of times of layers, which estimates are made of; None times those of the input.
        costs_dir: Folder where measured costs are kept for later searches; None for none.
        max_minutes: The search stops after so long, iterations of earlier runs included; the iteration under way is
            left out. None for no limit.
    """

    model_family: str
    predictor_path: str | tuple[str, ...] = str(SHIPPED_DIR / "saved_models" / "ensemble")
    predictor_type: str = "PSC_predictor"
    graph_encoder_path: str = str(_FILES.encoder)
    tokenizer_path: str = str(_FILES.model)
    segment_database_path: str = str(_FILES.database)
    graph_encoder_family: str = "combined"
    epoch: int = 5
    top_k: int = 10
    max_candidate_per_iter: int = 10
    max_target_per_iter: int = 100
    mutation_unit: str = "segment"
    num_consecutive_segs: int = 3
    segment_sparsity: float = 0.5
    max_visited_architecture: int | None = None
    rescore_per_iter: int = 200
    caution: float = 0.5
    max_swaps: int | None = None
    max_score_drop: str | float = 0.0
    objective: str | Objective | Sequence[str | Objective] = FLOPS.name
    objective_unit: str = UNIT
    command_timeout: float = 600.0
    command_attempts: int = 2
    command_jobs: int = 1
    min_decrease_percent: float | Sequence[float] | None = None
    max_decrease_percent: float | Sequence[float] | None = None
    min_flops_decrease_percent: float | None = None
    max_flops_decrease_percent: float | None = None
    seed: int = 0
    n_jobs: int = 1
    parallel_backend: str = LOCAL.name
    ray_address: str | None = None
    milp_solver: str | None = None
    device_str: str | None = None
    rounds: int = 1
    measure: int = 0
    latency_runtime: str | None = None
    latency_device: str = "cpu"
    latency_threads: int = 1
    latency_batch: int = 1
    latency_table: str | None = None
    costs_dir: str | None = str(CACHE_DIR / "costs")
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        """Check what the flags do not say by themselves.

        Raises:
            InputError: The objective is unknown, a window is empty or given twice, a number is out of range, or Ray
                cannot be used.
        """
        self.limits()
        Backend(self.parallel_backend, self.ray_address)
        parse_drop(self.max_score_drop)
        for name, number in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or not number <= value < math.inf:
                raise InputError(f"-{name}: must be a number from {number} on, got {value!r}")
        if self.segment_sparsity > 1:
            raise InputError(f"-segment_sparsity: must lie between 0 and 1, got {self.segment_sparsity}")
        if self.measure and not self.rescore_per_iter:
            raise InputError("-measure: needs -rescore_per_iter above 0, for it learns from scores of whole networks")
        if self.mutation_unit not in ("segment", "op"):
            raise InputError(f"-mutation_unit: segment or op, not {self.mutation_unit!r}")

    @property
    def backend(self) -> Backend:
        """Where worker processes are.

        Raises:
            InputError: See `Backend`.
        """
        return Backend(self.parallel_backend, self.ray_address)

    @property
    def patience(self) -> float:
        """Seconds after which a process that mutates a network hangs: one per child, where 800 nodes take 0.004."""
        return 600.0 + self.max_candidate_per_iter * self.max_target_per_iter

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is made smaller.

        Raises:
            InputError: See `objectives_of`.
        """
        return objectives_of(self.objective, self.objective_unit)

    def limits(self) -> list[tuple[Objective, float, float]]:
        """What is measured, with the least and the greatest decrease in percent: objectives, and FLOPs in any case.

        Raises:
            InputError: The objective is unknown, or a window is empty or given twice.
        """
        objectives = self.objectives
        lows, highs = (
            _for_each(f"-{name}_decrease_percent", getattr(self, f"{name}_decrease_percent"), len(objectives))
            for name in ("min", "max")
        )
        limits = [(one, *_window("decrease", *pair)) for one, *pair in zip(objectives, lows, highs, strict=True)]
        flops = (self.min_flops_decrease_percent, self.max_flops_decrease_percent)
        on_flops = (-math.inf, math.inf) if flops == (None, None) else _window("flops_decrease", *flops)
        names = [one.name for one in objectives]
        if FLOPS.name not in names:
            return [*limits, (FLOPS, *on_flops)]
        if flops != (None, None):
            if any(value is not None for value in (*lows, *highs)):
                raise InputError(
                    "-min/max_decrease_percent and -min/max_flops_decrease_percent: give one pair for FLOPs"
                )
            at = names.index(FLOPS.name)
            limits[at] = (objectives[at], *on_flops)
        return limits


def parse_drop(text: str | float) -> tuple[float, bool]:
    """A drop of the score, and whether it is in points of accuracy (percent): `0.5pt` -> (0.5, True).

    Raises:
        InputError: It is no number from 0 on.
    """
    words = str(text).strip()
    in_points = words.endswith("pt")
    try:
        value = float(words.removesuffix("pt"))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"-max_score_drop: {text!r} is no number from 0 on, with or without `pt` behind it")
    return value, in_points


def _for_each(flag: str, given: float | Sequence[float] | None, count: int) -> tuple[float | None, ...]:
    """The numbers of a flag, one per objective; one alone holds for all."""
    values = tuple(given) if isinstance(given, Sequence) else (given,)
    if len(values) not in (1, count):
        raise InputError(f"{flag}: {len(values)} numbers for {count} objectives; give one, or one for each")
    return values * (count // len(values))


def _window(name: str, low: float | None, high: float | None) -> tuple[float, float]:
    low, high = 0 if low is None else low, 20 if high is None else high
    if not low < high:  # NaN too
        raise InputError(f"-min_{name}_percent must be below -max_{name}_percent, got {low:g} and {high:g}")
    if low >= 100:
        raise InputError(f"-min_{name}_percent must be below 100, got {low:g}: nothing costs less than nothing")
    return low, high


@dataclass(frozen=True)
class MutatorFiles:
    """Makes the mutator of a search, in this process or in a worker."""

    config: SearchConfig

    def __call__(self) -> Mutator:
        """Read encoder, tokenizer, database and predictor.

        Raises:
            InputError: A file is missing or damaged, or a name is unknown.
        """
        from model_src.encoder.network_encoder import NetworkEncoder
        from model_src.encoder.segment_db import SegmentDatabase
        from model_src.encoder.tokenizer import Tokenizer
        from model_src.predictor.ensemble import load_ensemble

        config = self.config
        ensemble = load_ensemble(config.predictor_path, config.device_str)
        return Mutator(
            MutationConfig(**{entry.name: getattr(config, entry.name) for entry in fields(MutationConfig)}),
            NetworkEncoder.load(config.graph_encoder_path),
            Tokenizer.load(config.tokenizer_path),
            SegmentDatabase.open(config.segment_database_path),
            ensemble.first_of(config.predictor_type),
            uses_parts=config.predictor_type == "PSC_predictor",
            solver=config.milp_solver,
            ensemble=ensemble,
        )


def workers_of(config: SearchConfig) -> Workers:
    """The processes of a search, which read its files."""
    return Workers(MutatorFiles(config), config.n_jobs, config.patience, config.backend, config.device_str)
