"""Weights for a network that concatenates its operands in another order than the one it was trained in.

A graph does not say in which order a node reads its operands: its networks take them in the order of running. What
reads a concatenation then finds its channels in another order, and needs its weights in that order too.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from model_src.comp_graph.networks.plan import NetworkPlan, Step
from model_src.comp_graph.ops import Channels

Weights = Mapping[str, np.ndarray]


class OrderError(ValueError):
    """Weights cannot make up for the order of channels.

    Attributes:
        concats: Ids of the concat nodes that the order comes from.
    """

    def __init__(self, step: Step, reason: str, concats: frozenset[str]):
        super().__init__(str(step.error(reason)))
        self.concats = concats


class _Channels(NamedTuple):
    """A step's result: position j holds channel `order[j]`, because of the `concats`."""

    order: np.ndarray
    concats: frozenset[str] = frozenset()

    @property
    def is_sorted(self) -> bool:
        return np.array_equal(self.order, np.arange(len(self.order)))


def in_running_order(
    plan: NetworkPlan, operands: Mapping[str, tuple[str, ...]], weights: Mapping[str, Weights]
) -> dict[str, Weights]:
    """Permute weights along their channel axes.

    Args:
        plan: The network.
        operands: Per id of a concat node, the ids of the nodes that it reads, in the order that the weights know.
        weights: Per node id, the parameters of its layer.

    Raises:
        OrderError: (a ValueError) Two operands of a sum or product, or the result, would have their channels in
            different orders, or a node needs them in the model's.
    """
    orders: list[_Channels] = []
    permuted = {}
    for step in plan.steps:
        sources = [orders[source] for source in step.sources]
        own = weights.get(step.node.str_id, {})
        permuted[step.node.str_id] = _permuted(step, own, sources[0]) if own else {}
        orders.append(_order(step, plan, sources, operands))
    for position in plan.outputs:
        if not orders[position].is_sorted:
            reason = "its channels would come in another order than the model's"
            raise OrderError(plan.steps[position], reason, orders[position].concats)
    return permuted


def out_of_order(plan: NetworkPlan, operands: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """Ids of the concat nodes whose operands come in an order that weights cannot make up for.

    Args:
        plan: The network.
        operands: As for `in_running_order`.
    """
    orders: list[_Channels] = []
    found = frozenset[str]()
    for step in plan.steps:
        try:
            orders.append(_order(step, plan, [orders[source] for source in step.sources], operands))
        except OrderError as error:
            found |= error.concats
            orders.append(_Channels(np.arange(step.node.resolution[5])))
    return found.union(*(orders[at].concats for at in plan.outputs if not orders[at].is_sorted))


def _permuted(step: Step, own: Weights, source: _Channels) -> Weights:
    if step.operation.needs_order or source.is_sorted:
        return dict(own)
    if step.operation.channels is Channels.CHOSEN:
        inner, outputs = _in_groups(step, source)
        own = {name: value[outputs] for name, value in own.items()}
        kernels = zip(np.split(own["weight"], len(inner)), inner, strict=True)
        return {**own, "weight": np.concatenate([kernel[:, places] for kernel, places in kernels])}
    return {name: value[source.order] if value.ndim else value for name, value in own.items()}


def _in_groups(step: Step, source: _Channels) -> tuple[np.ndarray, np.ndarray]:
    """What a convolution's groups read: per group the places of its channels; and the order of the result's channels.

    Raises:
        OrderError: A group would get channels of others.
    """
    blocks = source.order.reshape(step.node.groups, -1)
    size = blocks.shape[1]
    owners = blocks // size
    if (owners != owners[:, :1]).any():
        raise OrderError(step, "its groups would get their channels in another order than the model's", source.concats)
    outputs = np.arange(step.node.resolution[5]).reshape(len(blocks), -1)
    return blocks % size, outputs[owners[:, 0]].ravel()


def _order(
    step: Step, plan: NetworkPlan, sources: list[_Channels], operands: Mapping[str, tuple[str, ...]]
) -> _Channels:
    concats = frozenset[str]().union(*(source.concats for source in sources))
    if step.operation.needs_order and not all(source.is_sorted for source in sources):
        raise OrderError(step, "it would get its channels in another order than the model's", concats)
    if not sources or step.operation.needs_order:
        return _Channels(np.arange(step.node.resolution[5]))
    if step.operation.channels is Channels.CHOSEN:  # in the order of its own weights
        return _Channels(_in_groups(step, sources[0])[1], concats)
    if step.operation.channels is Channels.SUMMED:
        order = _concat_order(step, plan, [source.order for source in sources], operands[step.node.str_id])
        return _Channels(order, concats | {step.node.str_id})
    if any(not np.array_equal(source.order, sources[0].order) for source in sources[1:]):
        raise OrderError(step, "its operands would have their channels in different orders", concats)
    return sources[0]._replace(concats=concats)


def _concat_order(step: Step, plan: NetworkPlan, sources: list[np.ndarray], wanted: tuple[str, ...]) -> np.ndarray:
    sizes = {plan.steps[at].node.str_id: len(order) for at, order in zip(step.sources, sources, strict=True)}
    starts = dict(zip(wanted, np.cumsum([0, *(sizes[name] for name in wanted)])[:-1], strict=True))
    names = [plan.steps[at].node.str_id for at in step.sources]
    return np.concatenate([starts[name] + order for name, order in zip(names, sources, strict=True)])
