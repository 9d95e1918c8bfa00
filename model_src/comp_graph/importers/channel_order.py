"""Weights for a network that concatenates its operands in another order than the one it was trained in.

A graph does not say in which order a node reads its operands: its networks take them in the order of running. What
reads a concatenation then finds its channels in another order, and needs its weights in that order too.
"""

from collections.abc import Mapping

import numpy as np

from model_src.comp_graph.networks.plan import NetworkPlan, Step
from model_src.comp_graph.ops import Channels

Weights = Mapping[str, np.ndarray]


def in_running_order(
    plan: NetworkPlan, operands: Mapping[str, tuple[str, ...]], weights: Mapping[str, Weights]
) -> dict[str, Weights]:
    """Permute weights along their channel axes.

    Args:
        plan: The network.
        operands: Per id of a concat node, the ids of the nodes that it reads, in the order that the weights know.
        weights: Per node id, the parameters of its layer.

    Raises:
        ValueError: Two operands of a sum or product, or the result, would have their channels in different orders.
    """
    orders: list[np.ndarray] = []  # per step, position j of its result holds channel orders[j]
    permuted = {}
    for step in plan.steps:
        sources = [orders[source] for source in step.sources]
        own = weights.get(step.node.str_id, {})
        permuted[step.node.str_id] = _permuted(step, own, sources[0]) if own else {}
        orders.append(_order(step, plan, sources, operands))
    for position in plan.outputs:
        if not _is_sorted(orders[position]):
            raise plan.steps[position].error("its channels would come in another order than the model's")
    return permuted


def _permuted(step: Step, own: Weights, order: np.ndarray) -> Weights:
    if step.operation.channels is Channels.CHOSEN:
        inner, outputs = _in_groups(step, order)
        own = {name: value[outputs] for name, value in own.items()}
        kernels = zip(np.split(own["weight"], len(inner)), inner, strict=True)
        return {**own, "weight": np.concatenate([kernel[:, places] for kernel, places in kernels])}
    return {name: value[order] if value.ndim else value for name, value in own.items()}


def _in_groups(step: Step, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a convolution's groups read: per group the places of its channels; and the order of the result's channels.

    Raises:
        ValueError: A group would get channels of others.
    """
    blocks = order.reshape(step.node.groups, -1)
    size = blocks.shape[1]
    owners = blocks // size
    if (owners != owners[:, :1]).any():
        raise step.error("its groups would get their channels in another order than the model's")
    outputs = np.arange(step.node.resolution[5]).reshape(len(blocks), -1)
    return blocks % size, outputs[owners[:, 0]].ravel()


def _order(
    step: Step, plan: NetworkPlan, sources: list[np.ndarray], operands: Mapping[str, tuple[str, ...]]
) -> np.ndarray:
    if not sources:
        return np.arange(step.node.resolution[5])
    if step.operation.channels is Channels.CHOSEN:  # in the order of its own weights
        return _in_groups(step, sources[0])[1]
    if step.operation.channels is Channels.SUMMED:
        return _concat_order(step, plan, sources, operands[step.node.str_id])
    if any(not np.array_equal(order, sources[0]) for order in sources[1:]):
        raise step.error("its operands would have their channels in different orders")
    return sources[0]


def _concat_order(step: Step, plan: NetworkPlan, sources: list[np.ndarray], wanted: tuple[str, ...]) -> np.ndarray:
    sizes = {plan.steps[at].node.str_id: len(order) for at, order in zip(step.sources, sources, strict=True)}
    starts = dict(zip(wanted, np.cumsum([0, *(sizes[name] for name in wanted)])[:-1], strict=True))
    names = [plan.steps[at].node.str_id for at in step.sources]
    return np.concatenate([starts[name] + order for name, order in zip(names, sources, strict=True)])


def _is_sorted(order: np.ndarray) -> bool:
    return np.array_equal(order, np.arange(len(order)))
