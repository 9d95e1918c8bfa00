"""What layers are called in exported files: as in the network that they came from, where that gave them a name."""

import re
from collections import Counter
from keyword import iskeyword

from torch import nn

from model_src.comp_graph.networks.plan import NetworkPlan, Step

_OF_FILES = re.compile(r"image|output(_\d+)?|pixel_axes|six|zero")  # tensors that an ONNX file has besides
_TAKEN = frozenset(dir(nn.Module())) | {"input_size"}


def layer_names(plan: NetworkPlan) -> dict[str, str]:
    """Per step name the layer's, `layer1.0.conv1`; where it had none of its own, the step's."""
    own = {step.name: _own_name(step) for step in plan.steps}
    count = Counter(own.values())
    return {name: title if title and count[title] == 1 else name for name, title in own.items()}


def attribute_names(plan: NetworkPlan) -> dict[str, str]:
    """Per step name an attribute of a Python class: `layer1_0_conv1`, or of `op_7/conv` `conv_7`."""
    names: dict[str, str] = {}
    for position, (step, title) in enumerate(zip(plan.steps, layer_names(plan).values(), strict=True)):
        ident = step.name.removeprefix("op_").rpartition("/")[0]
        own = title.replace(".", "_") if title != step.name else ident
        choices = [one for one in (own, f"{step.op}_{own}", f"{step.op}_{ident}") if one != ident]
        valid = [one for one in choices if re.fullmatch("[A-Za-z][A-Za-z0-9_]*", one) and not iskeyword(one)]
        taken = _TAKEN.union(names.values())
        names[step.name] = next((one for one in valid if one not in taken), f"{step.op}_at_{position}")
    return names


def _own_name(step: Step) -> str:
    """Where a layer with parameters was in the network that it came from: without the operation at the end."""
    if not step.operation.has_parameters:
        return ""
    path = step.node.str_id.partition("|")[2].replace("/", ".").rpartition(".")[0].strip(".")
    if _OF_FILES.fullmatch(path):
        return f"{path}_layer"
    return path if re.fullmatch(r"[A-Za-z0-9_.]+", path) else ""
