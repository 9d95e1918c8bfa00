"""Networks that were drawn, on their way into the cache of a family."""

from collections.abc import Iterable, Iterator
from operator import attrgetter

from model_src.comp_graph.tf_comp_graph import OP2I
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, parameter_count
from model_src.family_data.caches import LabelledGraph
from model_src.labels.table import LabelRow
from model_src.search_space.sampling import Drawn, config_hash


def labelled_graphs(networks: Iterable[Drawn]) -> Iterator[LabelledGraph]:
    """The networks as they stand in a cache: with FLOPs and number of parameters."""
    op2i = OP2I().build_from_file()
    for graph, config, accuracy, _ in networks:
        yield LabelledGraph(graph, accuracy, compute_cg_flops(graph, op2i), parameter_count(graph), config)


class Record:
    """What is kept of labelled networks that pass by.

    Args:
        source: Who labelled them, see `LabelRow`.
        seed: Of the draw.

    Attributes:
        rows: A row for every network that has an accuracy.
        best: The network of the highest accuracy, of equal ones the first; None if there is none.
    """

    def __init__(self, source: str, seed: int):
        self._source, self._seed = source, seed
        self.rows: list[LabelRow] = []
        self.best: Drawn | None = None

    def of(self, networks: Iterable[Drawn]) -> Iterator[Drawn]:
        """Hand on the networks."""
        for network in networks:
            if network.accuracy is not None:
                key = config_hash(network.config)
                self.rows.append(LabelRow(key, network.graph_hash, network.accuracy, self._source, seed=self._seed))
                self.best = max(self.best or network, network, key=attrgetter("accuracy"))
            yield network
