"""How long a network takes, estimated layer by layer: times that are known, and a regression for those that are not."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np

from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node
from model_src.profiling.layers import (
    Layer,
    alone,
    amounts_of,
    different_layers,
    layer_of,
    nodes_of_graph,
    nodes_of_segment,
    nothing,
)

Measure = Callable[[Mapping[str, ComputeGraph]], Mapping[str, float]]
LEAST_MS = 1e-4  # that a layer takes

_FEWEST = 4  # layers of a kind to learn its times from
_ANY = "any"


@dataclass(frozen=True)
class Estimate:
    """Times of layers, summed along a graph.

    Attributes:
        known: Milliseconds of layers that were timed.
        rates: Kind of layer -> milliseconds per call, MAC, number of a map and parameter, for others.
        fused: Operations that take no time of their own.
    """

    known: Mapping[Layer, float]
    rates: Mapping[str, Sequence[float]]
    fused: frozenset[str]
    _of_node: dict[tuple[bytes, int], float] = field(default_factory=dict, repr=False, compare=False)

    def of_graph(self, cg: ComputeGraph) -> float:
        """Milliseconds of a network."""
        return self._sum(nodes_of_graph(cg))

    def of_segment(self, segment: Segment) -> float:
        """Milliseconds of a segment in its place."""
        return self._sum(nodes_of_segment(segment))

    def _sum(self, nodes: Iterable[tuple[Node, int]]) -> float:
        return sum(self._ms(node, n_inputs) for node, n_inputs in nodes)

    def _ms(self, node: Node, n_inputs: int) -> float:
        key = node.digest, n_inputs
        if key not in self._of_node:
            self._of_node[key] = self._computed(node, n_inputs)
        return self._of_node[key]

    def _computed(self, node: Node, n_inputs: int) -> float:
        if node.operation.name in self.fused or node.operation.is_idle(n_inputs or 2):
            return 0.0
        times = max(n_inputs - 1, 1) if node.operation.is_merge else 1
        layer = layer_of(node)
        if layer in self.known:
            return times * self.known[layer]
        rates = self.rates.get(kind_of(layer)) or self.rates[_ANY]
        return times * float(np.dot(rates, _features(layer)))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_of_node": {}}


def kind_of(layer: Layer) -> str:
    """Layers of a kind differ in their amounts alone: by operation, convolutions by their kernels."""
    return f"{layer.operation} {layer.k_h}x{layer.k_w}" if layer.k_h else layer.operation


def learn(known: Mapping[Layer, float], fused: frozenset[str]) -> Estimate:
    """Learn what layers take that were not timed, kind by kind, from those that were.

    A time is what calling takes, and so much per MAC, number and parameter, none of it negative; errors count in
    percent.

    Args:
        known: Milliseconds of layers, at least of one.
        fused: See `Estimate`.
    """
    kinds: dict[str, list[Layer]] = {_ANY: list(known)}
    for layer in known:
        kinds.setdefault(kind_of(layer), []).append(layer)
    rates = {
        kind: _rates(layers, [known[layer] for layer in layers])
        for kind, layers in kinds.items()
        if len(layers) >= _FEWEST or kind == _ANY
    }
    return Estimate(dict(known), rates, fused)


def time_layers(nodes: Iterable[Node], fused: frozenset[str], measure: Measure) -> dict[Layer, float]:
    """Milliseconds of every different layer among nodes, less what calling a network takes.

    Args:
        nodes: The nodes.
        fused: Operations that are not timed.
        measure: Times networks by their names; nan where that fails.
    """
    layers = different_layers(nodes, fused)
    networks = {str(number): alone(node) for number, node in enumerate(layers.values())}
    found = measure({"nothing": nothing(), **networks})
    calling = found["nothing"]
    times = zip(layers, (found[name] for name in networks), strict=True)
    return {layer: max(ms - calling, LEAST_MS) for layer, ms in times if not isnan(ms)}


def _features(layer: Layer) -> tuple[float, ...]:
    return 1.0, *(amount / 1e6 for amount in amounts_of(layer))


def _rates(layers: Sequence[Layer], ms: Sequence[float]) -> tuple[float, ...]:
    from sklearn.linear_model import LinearRegression

    features, times = np.array([_features(layer) for layer in layers]), np.array(ms)
    found = LinearRegression(fit_intercept=False, positive=True).fit(features, times, sample_weight=times**-2.0)
    return tuple(found.coef_.tolist())
