"""The end of a classifier: as many channels as there are classes."""

from dataclasses import replace

from model_src.comp_graph.ops import Channels, Kind
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.propagation.forward import with_resolutions
from model_src.training.image_data import CIFAR10, ImageData

_LAST = "the last dense layer or convolution, so the number of classes cannot be changed"


def fitted(cg: ComputeGraph, data: ImageData) -> ComputeGraph:
    """The network as it is trained on a data set: unchanged on CIFAR-10, with a channel per class on any other.

    Raises:
        ValueError: See `with_classes`.
    """
    return cg if data.dataset == CIFAR10 else with_classes(cg, data.n_classes)


def with_classes(cg: ComputeGraph, n_classes: int) -> ComputeGraph:
    """Let a classifier end in a vector of so many channels.

    The last node on the way to the output that has channels of its own changes them, those after it follow.

    Args:
        cg: The network, every node with its own sizes (see `correct_cg_for_downstream`).
        n_classes: Channels of the result.

    Raises:
        ValueError: The network has several outputs, ends in a map, or no dense layer or convolution alone decides how
            many channels its end has.
    """
    end = cg.nodes[cg.output_index]
    if end.out_shape[:2] != (1, 1):
        size = "x".join(map(str, end.out_shape[:2]))
        raise ValueError(f"{cg.name}: the network ends in a map of {size} pixels, not in a vector of classes")
    if end.out_shape[2] == n_classes:
        return cg
    head, *rest = _from_head_to_output(cg)
    resolutions = [node.resolution for node in cg.nodes]
    resolutions[head] = (*resolutions[head][:5], n_classes)
    for index in rest:
        resolutions[index] = (*resolutions[index][:4], n_classes, n_classes)
    changed = with_resolutions(cg, resolutions, [node.strides for node in cg.nodes])
    return replace(changed, input_shape=cg.input_shape)


def _from_head_to_output(cg: ComputeGraph) -> list[int]:
    """The indices of the last node with channels of its own and of all after it, in a row.

    Raises:
        ValueError: There is no such row.
    """
    index, row = cg.output_index, [cg.output_index]
    while (operation := cg.nodes[index].operation).channels is not Channels.CHOSEN:
        sources = cg.predecessors[index]
        if len(sources) != 1:
            raise cg.nodes[index].error(f"it {'joins several inputs behind' if sources else 'comes without'} {_LAST}")
        (index,) = sources
        row.insert(0, index)
    if operation.kind is not Kind.WEIGHTED:
        raise cg.nodes[index].error(f"it stands behind {_LAST}")
    return row
