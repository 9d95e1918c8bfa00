"""Classification, pose and segmentation networks of large classifiers.

Pose keeps a classifier up to its last map; segmentation also keeps that map large (dilated windows instead of strides,
as PSPNet does) and gives a second, earlier map. The weights of a classifier fit both: their layers have the same names.
Heads and training are left to whoever uses them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import induced_subgraph, topological_order
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.networks.plan import Step
from model_src.comp_graph.networks.pruning import bypass_operations, merge_dilations
from model_src.comp_graph.networks.torch_layers import LAYERS
from model_src.comp_graph.ops import OPERATIONS, Backend
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.tf_comp_graph import ComputeGraph, NodeResolution, RegularNode, Strides, WeightedNode
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream
from model_src.files import InputError, naming

INPUT_SIZE = (224, 224, 3)  # (H, W, C) of the classifiers


class TaskConfig(NamedTuple):
    """What a task needs to know of an architecture.

    Attributes:
        pose_channels: Channels of the pose network's map.
        main_channels: Channels of the segmentation network's last map.
        auxiliary_channels: Channels of its earlier map.
        auxiliary_op: Operation that gives the earlier map.
    """

    pose_channels: int
    main_channels: int
    auxiliary_channels: int
    auxiliary_op: str


CONFIGS: Mapping[str, TaskConfig] = {
    "resnet50.pkl": TaskConfig(2048, 2048, 1024, "relu"),
    "resnet101.pkl": TaskConfig(2048, 2048, 1024, "relu"),
    "vgg16_bn.pkl": TaskConfig(512, 512, 256, "maxpool"),
}


def cg_class(path: str | Path) -> TorchNetwork:
    """The classification network of a graph file: (N, 3, H, W) to (N, classes).

    Raises:
        InputError: See `classification_graph`.
    """
    return TorchNetwork(classification_graph(path))


def cg_hpe(path: str | Path, config_name: str | None = None) -> tuple[TorchNetwork, int]:
    """The pose network of a graph file, (N, 3, H, W) to a map (N, C, H / 32, W / 32), and C.

    Args:
        path: The file.
        config_name: Key of `CONFIGS`, for a mutant that of its original; None takes the file's name.

    Raises:
        InputError: See `classification_graph`; or there is no such key.
    """
    config = _config(path, config_name)
    return TorchNetwork(pose_graph(classification_graph(path)), squeeze_output=False), config.pose_channels


def cg_seg(path: str | Path, config_name: str | None = None) -> tuple["SegmentationNetwork", TaskConfig]:
    """The segmentation network of a graph file, (N, 3, H, W) to two maps about H / 8 high, and its configuration.

    Args:
        path: The file.
        config_name: See `cg_hpe`.

    Raises:
        InputError: See `classification_graph`; or there is no such key, or the graph has no such maps.
    """
    config = _config(path, config_name)
    with naming(path):
        graph = segmentation_graph(pose_graph(classification_graph(path)), config)
    return SegmentationNetwork(graph), config


def _config(path: str | Path, name: str | None) -> TaskConfig:
    name = name or Path(path).name
    if name not in CONFIGS:
        raise InputError(f"{path}: no configuration {name!r}; give config_name, one of {', '.join(CONFIGS)}")
    return CONFIGS[name]


def classification_graph(path: str | Path) -> ComputeGraph:
    """Read a graph file (for 224x224x3 images, where it does not say) and bypass its padding nodes.

    Raises:
        InputError: See `load_cg`.
    """
    return bypass_operations(load_cg(path, *INPUT_SIZE), ["paddings"])


def pose_graph(cg: ComputeGraph) -> ComputeGraph:
    """A classifier up to the last node whose result is larger than 1x1, with an output node; for 224x224x3 images.

    Raises:
        ValueError: No result is larger than 1x1, or the sizes contradict each other.
    """
    cg = merge_dilations(cg)
    maps = [index for index in topological_order(cg) if min(cg.nodes[index].out_shape[:2]) > 1]
    if not maps:
        raise ValueError(f"{cg.name}: no map is larger than 1x1")
    part = induced_subgraph(cg, _ancestors(cg, maps[-1]))
    output = RegularNode("output", "output", OPERATIONS["output"].index, _unchanged(part.nodes[part.output_index]))
    edges = [*part.edge_pairs, (part.output_index, part.n_nodes)]
    whole = ComputeGraph.from_nodes(cg.name, (1, *INPUT_SIZE), [*part.nodes, output], edges)
    graph = correct_cg_for_downstream(whole, *INPUT_SIZE)
    if graph.n_nodes == whole.n_nodes:  # correction only renamed the nodes: old ids keep weights transferable
        nodes = [replace(node, str_id=old.str_id) for node, old in zip(graph.nodes, whole.nodes, strict=True)]
        graph = ComputeGraph.from_nodes(graph.name, graph.input_shape, nodes, graph.edge_pairs)
    return graph.with_normalisers(DOMAIN_NORMALISERS)


def _ancestors(cg: ComputeGraph, index: int) -> set[int]:
    """A node and everything that its result depends on."""
    found, waiting = {index}, [index]
    while waiting:
        new = set(cg.predecessors[waiting.pop()]) - found
        found |= new
        waiting.extend(new)
    return found


def _unchanged(node: RegularNode) -> NodeResolution:
    """The resolution of a node that hands on what this one gives."""
    h, w, c = node.out_shape
    return h, h, w, w, c, c


def segmentation_graph(cg: ComputeGraph, config: TaskConfig) -> ComputeGraph:
    """A pose graph with a second output, `new_output`, behind the last auxiliary node.

    Raises:
        ValueError: The graph has no node of the configured operation and channels.
    """
    wanted = (config.auxiliary_op, config.auxiliary_channels)
    found = [index for index, node in enumerate(cg.nodes) if (node.operation.name, node.out_shape[2]) == wanted]
    if not found:
        raise ValueError("no {} with {} channels to take the auxiliary output from".format(*wanted))
    index = OPERATIONS["output"].index
    output = RegularNode("new_output", "output_aux", index, cg.nodes[found[-1]].resolution)
    edges = [*cg.edge_pairs, (found[-1], cg.n_nodes)]
    return ComputeGraph.from_nodes(cg.name, cg.input_shape, [*cg.nodes, output], edges, cg.normalisers)


class SegmentationNetwork(TorchNetwork):
    """A network whose maps stay an eighth of the image; what changes is decided by the graph's sizes at 224x224.

    Shapes:
        Input (N, C, H, W). Output: a list of maps, most channels first; a single one by itself. A map narrower than
        W // 8 gets one pixel of zeros on every side.

    Args:
        cg: The graph, as `segmentation_graph` makes it.

    Raises:
        ValueError: See `TorchNetwork`.
    """

    def __init__(self, cg: ComputeGraph):
        super().__init__(cg, squeeze_output=False, layers=SEGMENTATION_LAYERS)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Run the nodes in order; see the class for shapes."""
        maps = super().forward(x)
        if not isinstance(maps, list):
            return maps
        padded = [functional.pad(one, (1, 1, 1, 1)) if one.shape[3] < x.shape[3] // 8 else one for one in maps]
        return sorted(padded, key=lambda one: one.shape[1], reverse=True)


def _changed(step: Step, strides: Strides, **metadata: int | str) -> Step:
    node = replace(step.node, strides=strides, metadata={**(step.node.metadata or {}), **metadata})
    return replace(step, node=node)


SEGMENTATION_LAYERS: Registry[Callable[[Step], nn.Module]] = Registry(Backend.TORCH, base=LAYERS)


@SEGMENTATION_LAYERS.register("conv", "depthwise", "grouped_conv")
def _conv(step: Step) -> nn.Module:
    step = _with_kernel(step)
    h = step.node.out_shape[0]
    if h < 20:
        step = _changed(step, (1, 1, 1, 1), padding="same", dil_rate=4 if h < 10 else 2)
    return step.function_in(LAYERS)(step)


def _with_kernel(step: Step) -> Step:
    """The step with a kernel of one pixel where none is known."""
    node = step.node
    if not isinstance(node, WeightedNode) or 0 not in node.shape[2:]:
        return step
    return replace(step, node=replace(node, shape=(*node.shape[:2], 1, 1)))


@SEGMENTATION_LAYERS.register("conv2d_transpose")
def _transposed(step: Step) -> nn.Module:
    step = _with_kernel(step)
    (c_in, c_out), (kernel, _) = step.node.resolution[4:], step.node.kernel[2:]
    paddings = {4: (1, 0), 3: (1, 1), 2: (0, 0)}  # kernel -> padding, output padding
    if kernel not in paddings:
        raise step.error(f"a transposed convolution with kernel {kernel}; known are 2, 3 and 4")
    stride = (step.node.strides or (1, 1, 1, 1))[1:3]
    return nn.ConvTranspose2d(c_in, c_out, kernel, stride, *paddings[kernel], bias=step.use_bias)


@SEGMENTATION_LAYERS.register("maxpool")
def _maxpool(step: Step) -> nn.Module:
    return step.function_in(LAYERS)(_changed(step, (1, 1, 1, 1)) if step.node.out_shape[0] < 25 else step)


@SEGMENTATION_LAYERS.register("identity")
def _identity(step: Step) -> nn.Module:
    if "align_corners" in (step.node.metadata or {}):
        raise step.error("resized maps cannot be represented")
    return step.function_in(LAYERS)(step)
