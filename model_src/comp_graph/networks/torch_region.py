"""The PyTorch layer of a region, which can be run and written down."""

import torch
from torch import Tensor, fx, nn

from model_src.comp_graph.networks.region_forms import FORMS, Argument
from model_src.comp_graph.region import Dims, Region


class RegionLayer(nn.Module):
    """Runs the operations of a region; weights w0, w1, ... are parameters.

    Args:
        region: The region.

    Raises:
        ValueError: It has an operation that nobody wrote down for PyTorch.
    """

    def __init__(self, region: Region):
        super().__init__()
        self.region = region
        for at, shape in enumerate(region.weights):
            self.register_parameter(f"w{at}", nn.Parameter(_first_values(region, f"w{at}", shape)))
        for at, one in enumerate(region.constants):
            if one.shape or one.type == "bool":
                value = torch.tensor(one.values, dtype=getattr(torch, one.type)).reshape(one.shape)
                self.register_buffer(f"c{at}", value, persistent=False)
        self.graph = graph_of(region)

    def forward(self, *maps: Tensor) -> Tensor:
        """Several (N, C, H, W) to one."""
        result: Tensor = fx.Interpreter(self, graph=self.graph).run(*maps)
        return result

    def extra_repr(self) -> str:
        """The types of its operations."""
        return ", ".join(op.type for op in self.region.ops)


def _first_values(region: Region, name: str, shape: Dims) -> Tensor:
    """What a weight begins with: scales and variances with ones, kernels with small numbers, others with zeros."""
    norms = [op.inputs for op in region.ops if op.type.endswith("Normalization")]
    if any(name in (*inputs[1:2], *inputs[4:]) for inputs in norms):
        return torch.ones(shape)
    values = torch.zeros(shape)
    return nn.init.kaiming_uniform_(values, a=5**0.5) if len(shape) > 1 else values


def graph_of(region: Region) -> fx.Graph:
    """The operations of a region as PyTorch's.

    Raises:
        ValueError: One of them, or one of its attributes, is not known.
    """
    graph = fx.Graph()
    values: dict[str, Argument] = {"": None}
    for at in range(len(region.inputs)):
        values[f"x{at}"] = graph.placeholder(f"x{at}")
    for at in range(len(region.weights)):
        values[f"w{at}"] = graph.get_attr(f"w{at}")
    for at, one in enumerate(region.constants):
        is_tensor = one.shape or one.type == "bool"
        values[f"c{at}"] = graph.get_attr(f"c{at}") if is_tensor else one.values[0]
    for at, op in enumerate(region.ops):
        if op.type not in FORMS:
            raise ValueError(f"no PyTorch form of {op.type}")
        try:
            values[f"t{at}"] = FORMS[op.type](graph, op.attributes, *(values[name] for name in op.inputs))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"no PyTorch form of {op.type} with {dict(op.attributes)}") from error
    graph.output(values[f"t{len(region.ops) - 1}"])
    return graph


def source_of(layer: RegionLayer, name: str) -> str:
    """The source of a class that computes what a layer computes, in which only its weights are missing."""
    region = layer.region
    lines = [f"self.w{at} = nn.Parameter(torch.zeros{shape})" for at, shape in enumerate(region.weights)]
    for at, one in enumerate(region.constants):
        if one.shape or one.type == "bool":
            value = f"torch.tensor({getattr(layer, f'c{at}').tolist()}, dtype=torch.{one.type})"
            lines.append(f'self.register_buffer("c{at}", {value}, persistent=False)')
    init = "".join(f"\n        {line}" for line in ["super().__init__()", *lines])
    code = layer.graph.python_code("self").src.strip().replace("\n", "\n    ")
    ops = ", ".join(op.type for op in region.ops)
    return f'''
class {name}(nn.Module):
    """{ops}."""

    def __init__(self):{init}

    {code}
'''
