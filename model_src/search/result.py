"""What a search found."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from model_src.comp_graph.inheritance import Inheritance, all_of, inherit
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import corrected_with_ids
from model_src.comp_graph.weights import NodeWeights, WeightedGraph
from model_src.predictor.correction import Lesson
from model_src.propagation.milp import Statistics
from model_src.search.objectives import Goal
from model_src.search.pareto import Individual
from model_src.search.workers import NOBODY, Scorer

if TYPE_CHECKING:
    from torch import Tensor

    from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork

logger = logging.getLogger(__name__)

_FEW = 8  # images of noise


@dataclass(frozen=True, eq=False)
class FoundNetwork:
    """A result of a search.

    Attributes:
        rank: 0 has the best score.
        found: The network as the search met it, with score and costs.
        graph: The network with all sizes inferred anew from the input's, ready to be built.
        node_ids: Per node of `graph`, the id of the node of `found.graph` that it was made of.
        inherited: What it has of the input's weights; None where the input came without any.
        calibration: See `SearchResult`.
    """

    rank: int
    found: Individual
    graph: ComputeGraph
    node_ids: list[str]
    inherited: Inheritance | None = None
    calibration: "Tensor | None" = None

    def module(self, seed: int = 0) -> "TorchNetwork":
        """The PyTorch network (NCHW), ready for inference: inherited weights, and seeded fresh ones."""
        from model_src.comp_graph.exporters.files import network_of

        return network_of(self.graph, seed, self.inherited, self.calibration)


@dataclass
class SearchResult:
    """What a search found.

    Attributes:
        source: The input, as iteration 0.
        goal: The limits that children were held against.
        front: The Pareto set without the input, best score first; before it what was measured, best accuracy first.
        visited: (merit, cost for each objective, iteration) of the input and of every accepted network, with repeats.
        n_distinct: Distinct networks among them.
        n_scored: Networks scored.
        n_outside: Those of them outside the windows, see `Mutation`.
        propagation: Counts and times of the resolution propagation.
        scorer: Who predicted.
        history: Every network that was scored as a whole, accepted or not, in order.
        weights: Of the input, by node id; None where it came without any.
        calibration: Images (n, C, H, W) that batch normalisations of results take their statistics from; None for none.
        measured: Canonical hash -> measured accuracy (a fraction).
        lesson: What was learnt from these; None where nothing is measured.
        seconds: Wall time, that of earlier runs included.
        stopped_by: What ended it early; None if it came to its end.
        out_of_time: It ended for `SearchConfig.max_minutes`.
    """

    source: Individual
    goal: Goal
    front: list[Individual] = field(default_factory=list)
    visited: list[tuple[float, ...]] = field(default_factory=list)
    n_distinct: int = 1
    n_scored: int = 0
    n_outside: int = 0
    scorer: Scorer = NOBODY
    history: list[Individual] = field(default_factory=list)
    weights: NodeWeights | None = None
    calibration: "Tensor | None" = None
    measured: dict[str, float] = field(default_factory=dict)
    lesson: Lesson | None = None
    propagation: Statistics = field(default_factory=Statistics)
    seconds: float = 0.0
    stopped_by: BaseException | None = None
    out_of_time: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether it ended early."""
        return self.stopped_by is not None

    def whole(self) -> "SearchResult":
        """The search itself, if it came to its end.

        Raises:
            BaseException: What stopped it.
        """
        if self.stopped_by:
            raise self.stopped_by
        return self

    @cached_property
    def networks(self) -> list[FoundNetwork]:
        """The results, best score first; one whose sizes cannot be inferred anew stays as it was found."""
        return [self.built(found, rank, f"rank {rank}") for rank, found in enumerate(self.front)]

    def built(self, found: Individual, rank: int, name: str) -> FoundNetwork:
        """An individual as a result, ready to be built; `name` is what messages call it."""
        graph, node_ids = _to_build(found, name)
        if self.weights is None:
            return FoundNetwork(rank, found, graph, node_ids, None, self.calibration)
        source = WeightedGraph(self.source.graph, self.weights)
        return FoundNetwork(rank, found, graph, node_ids, inherit(graph, node_ids, source), self.calibration)

    @cached_property
    def distances(self) -> list[float]:
        """How far the output of every result is from the input's before any training, see `statistics.distance`.

        On the images for calibration, or on noise; nothing where the input came without weights.
        """
        if self.weights is None:
            return []
        from model_src.comp_graph.exporters.files import network_of
        from model_src.comp_graph.networks.statistics import distance, noise

        cg = self.source.graph
        images = noise(cg, _FEW) if self.calibration is None else self.calibration
        source = network_of(cg, inherited=all_of(self.weights))
        return [distance(one.module(), source, images) for one in self.networks]


def _to_build(found: Individual, name: str) -> tuple[ComputeGraph, list[str]]:
    """A network with all sizes inferred anew, and of every node the id of the one it was made of.

    Args:
        found: The network as the search met it; if its sizes cannot be inferred, it stays so.
        name: Its name in messages.
    """
    cg = found.graph
    try:
        graph, node_ids = corrected_with_ids(cg, *cg.input_shape[1:])
        return graph.with_normalisers(cg.normalisers), node_ids  # so that it is scored as it was found
    except ValueError as error:
        logger.warning("%s: kept uncorrected: %s", name, error)
        return cg, [node.str_id for node in cg.nodes]
