"""Cuts a PyTorch module in two at a tensor: what gives the tensor, and what makes the results of it."""

from collections.abc import Collection
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from model_src.comp_graph.importers.imported import ImportedNetwork, LeftOut
from model_src.comp_graph.importers.onnx.rest import rest_behind
from model_src.comp_graph.importers.results import as_in_original
from model_src.comp_graph.importers.tracing import exported
from model_src.comp_graph.importers.wording import close_to, listed
from model_src.comp_graph.rest import Rest


class Halves(NamedTuple):
    """The two parts of a module; the second takes what the first gives."""

    front: nn.Module
    rest: nn.Module


class Joined(nn.Module):
    """A network with what came behind it in the module that it was a part of.

    Attributes:
        searched: The network.
        rest: The module's part behind it.
    """

    def __init__(self, searched: nn.Module, rest: nn.Module, axes: str, left_out: LeftOut | None):
        super().__init__()
        self.searched, self.rest = searched, rest
        self._axes, self._left_out = axes, left_out

    def forward(self, images: Tensor) -> Any:
        """Images (N, C, H, W) to what the whole module gave."""
        return self.rest(as_in_original(self._axes, self._left_out, self.searched(images)))


class TorchRest(Rest):
    """The part of a module behind a tensor; in ONNX once that is asked for.

    Attributes:
        module: The part.

    Args:
        module: The part, in inference mode.
        found: What was read of the part in front.
        example: A batch of the tensor.
    """

    def __init__(self, module: nn.Module, found: ImportedNetwork, example: Tensor):
        super().__init__()
        self.module, self._found, self._example = module, found, example

    def after(self, result: Tensor) -> Any:
        """What the whole module gives, from what a network of the part's graph gives."""
        return self.module(as_in_original(self._found.output_axes, self._found.left_out, result))

    def behind(self, network: nn.Module) -> nn.Module:
        """The whole module with another network for the part in front; what is behind it are copies."""
        return Joined(network, deepcopy(self.module), self._found.output_axes, self._found.left_out)

    def _to_onnx(self) -> Any:
        model, batch = exported(self.module, self._example)
        return rest_behind(self._found, model, batch)


def cut_module(module: nn.Module, example: Tensor, name: str) -> Halves:
    """Cut a module that is in inference mode at a tensor; parts share its weights.

    Args:
        module: It maps one batch of images to whatever it likes.
        example: A batch (N, C, H, W).
        name: Where a submodule that gives the tensor is in it (`layer3.0`), or the name of a node of `torch.fx`.

    Raises:
        ValueError: There is no such tensor, what comes behind it needs others that the image is needed for, or the
            module cannot be traced.
    """
    whole, structure = _traced(module, example)
    graph = whole.graph
    tensor = _named(graph, name)
    image = next(node for node in graph.nodes if node.op == "placeholder")
    behind, seen = _reached(tensor), _reached(image)
    (end,) = (node for node in graph.nodes if node.op == "output")
    if tensor not in seen or tensor is end:
        raise ValueError(f"-output_node {name}: it does not depend on the image")
    if end not in behind:
        raise ValueError(f"-output_node {name}: no output depends on it")
    needed = [node for node in graph.nodes if node is not tensor and behind.intersection(node.users)]
    others = [node for node in needed if node not in behind and (node in seen or node is image)]
    values = _Values(whole, [tensor, *others]).found(example)
    if not isinstance(values[tensor], Tensor):
        raise ValueError(f"-output_node {name}: it is a {type(values[tensor]).__name__}, not one tensor")
    if lacking := [node.name for node in others if _has_tensor(values[node])]:
        raise ValueError(f"-output_node {name}: what comes behind it also needs {listed(lacking)}")
    sizes = {node: values[node] for node in others}
    rest = _behind(whole, tensor, behind, sizes)
    return Halves(_front(whole, tensor), rest if structure is None else _Structured(rest, structure))


class _Structured(nn.Module):
    """A module whose results, a tuple, are given in the structure that they had before, with numbers for them."""

    def __init__(self, module: nn.Module, structure: Any):
        super().__init__()
        self.module, self.structure = module, structure

    def forward(self, part: Tensor) -> Any:
        results = self.module(part)
        return pytree.tree_map(lambda number: results[number], self.structure)


def _traced(module: nn.Module, example: Tensor) -> tuple[fx.GraphModule, Any]:
    """The module as `torch.fx` sees it, which keeps its submodules; or as `torch.export` does, see `_Structured`."""
    try:
        return fx.symbolic_trace(module), None
    except Exception:  # whatever the module's own code does with what is no tensor
        program = torch.export.export(module, (example,), strict=False)
        spec = program.call_spec.out_spec
        return program.module(), pytree.tree_unflatten(range(spec.num_leaves), spec)


def _named(graph: fx.Graph, name: str) -> fx.Node:
    """The node of a name, or the only one whose result leaves a submodule."""
    for node in graph.nodes:
        if node.name == name:
            return node
    inside = [node for node in graph.nodes if name in _scopes(node)]
    leaving = [node for node in inside if any(user not in inside for user in node.users)]
    if len(leaving) == 1:
        return leaving[0]
    if leaving:
        raise ValueError(f"-output_node {name}: it gives several tensors; name {listed([n.name for n in leaving])}")
    known = {node.name for node in graph.nodes}.union(*(_scopes(node) for node in graph.nodes))
    raise ValueError(f"-output_node {name}: no submodule or node has this name{close_to(name, known)}")


def _scopes(node: fx.Node) -> set[str]:
    """Where in the module a node is: all submodules around it."""
    return {path for path, _ in (node.meta.get("nn_module_stack") or {}).values()}


def _reached(start: fx.Node) -> set[fx.Node]:
    """The nodes that depend on one, which is not among them."""
    found, waiting = set[fx.Node](), [start]
    while waiting:
        new = [user for user in waiting.pop().users if user not in found]
        found.update(new)
        waiting += new
    return found


class _Values(fx.Interpreter):
    """Runs a module and remembers the results of some of its nodes."""

    def __init__(self, module: fx.GraphModule, wanted: Collection[fx.Node]):
        super().__init__(module)
        self._wanted, self._found = set(wanted), dict[fx.Node, Any]()

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n in self._wanted:
            self._found[n] = result
        return result

    def found(self, example: Tensor) -> dict[fx.Node, Any]:
        with torch.no_grad():
            self.run(example)
        return self._found


def _has_tensor(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(value))


def _front(whole: fx.GraphModule, tensor: fx.Node) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in whole.graph.nodes:
        copies[node] = graph.node_copy(node, lambda one: copies[one])
        if node is tensor:
            break
    graph.output(copies[tensor])
    front = fx.GraphModule(whole, graph)
    front.graph.eliminate_dead_code()
    front.recompile()
    return front


def _behind(
    whole: fx.GraphModule, tensor: fx.Node, behind: Collection[fx.Node], sizes: dict[fx.Node, Any]
) -> fx.GraphModule:
    """What depends on a tensor, with what it needs besides: parameters, and sizes of the image as they are now."""
    graph = fx.Graph()
    copies: dict[fx.Node, Any] = {tensor: graph.placeholder("part"), **sizes}

    def copied(node: fx.Node) -> Any:
        if node not in copies:
            copies[node] = graph.node_copy(node, copied)
        return copies[node]

    for node in whole.graph.nodes:
        if node in behind:
            copied(node)
    return fx.GraphModule(whole, graph)
