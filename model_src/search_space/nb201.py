"""NAS-Bench-201 (Dong and Yang, 2020): one cell of six operations, repeated 15 times."""

import itertools
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, load_pickle
from model_src.search_space.graph_builder import GraphBuilder, Tensor, numbered

OPS = ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "none")
# Node of the cell that each operation of a config reads, in config order; 0 is the cell's input.
EDGE_SOURCES = (0, 0, 1, 0, 1, 2)
_STRING_FORM = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
_CELLS_PER_STACK = 5

ANALOG_NASBENCH = "analog-nasbench"
_ANALOG_DATA = "analognasbench/data.anb"
_ANALOG_CLASSES = {("analognasbench.data", name): SimpleNamespace for name in ("Architecture", "DriftMeasurement")}
_ANALOG_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
# Its cells list the edges 0->1, 0->2, 0->3, 1->2, 1->3, 2->3; this is where each edge of a config stands there.
_ANALOG_POSITIONS = (0, 1, 3, 2, 4, 5)

Config = list[str]


def all_configs(exclude_none: bool = True) -> list[Config]:
    """Every cell: 4,096, or 15,625 with the zero operation `none`."""
    return [list(cell) for cell in itertools.product(_ops(exclude_none), repeat=len(EDGE_SOURCES))]


def sample(rng: np.random.Generator, exclude_none: bool = True) -> Config:
    """Draw six operations uniformly."""
    ops = _ops(exclude_none)
    return [ops[index] for index in rng.integers(len(ops), size=len(EDGE_SOURCES))]


def draw(rng: np.random.Generator) -> Iterator[Config]:
    """Every cell without `none` once, in random order."""
    cells = all_configs()
    return (cells[index] for index in rng.permutation(len(cells)))


def _ops(exclude_none: bool) -> tuple[str, ...]:
    return OPS[:-1] if exclude_none else OPS


def architecture_string(config: Sequence[str]) -> str:
    """`|o0~0|+|o1~0|o2~1|+|o3~0|o4~1|o5~2|`, the benchmark's name of a cell."""
    return _STRING_FORM.format(*_checked(config))


def config_of(architecture: str) -> Config:
    """The config of an architecture string.

    Raises:
        ValueError: It is not the string of a cell.
    """
    config = [part.split("~")[0] for part in architecture.replace("+", "").split("|") if part]
    if len(config) != len(EDGE_SOURCES) or _STRING_FORM.format(*config) != architecture:
        raise ValueError(f"{architecture!r} is not a NAS-Bench-201 architecture string")
    return _checked(config)


label_key = architecture_string


def is_label_key(text: str) -> bool:
    """Whether a text is an architecture string and no hash."""
    return "~" in text


def network_name(config: Sequence[str]) -> str:
    """`NB201-Net<n>`, n the position of the cell in `all_configs(exclude_none=False)`."""
    position = 0
    for op in _checked(config):
        position = position * len(OPS) + OPS.index(op)
    return f"NB201-Net{position}"


def build(config: Sequence[str], name: str, keep_identity: bool = True) -> ComputeGraph:
    """Build the network of a cell.

    Args:
        config: Six operation names, for the cell's edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3.
        name: The graph's name.
        keep_identity: Every `skip_connect` is an identity node, as in published files; otherwise it leaves no node,
            as in a fresh trace. `none` leaves no node and passes its input on in both forms, as the trace does.

    Raises:
        ValueError: The config is not a cell.
    """
    config = _checked(config)
    builder = GraphBuilder(name)
    x = builder.batchnorm(builder.conv(builder.input(), 16, 3))
    # The trace numbers adds through the whole network and counts the cell's sums of one operand, too.
    adds_per_cell = 2 if keep_identity else 9
    for stack, channels in enumerate((16, 32, 64)):
        n_adds = adds_per_cell * _CELLS_PER_STACK * stack + stack
        if stack:
            x = _reduction(builder, x, channels, numbered("add", n_adds - 1))
        for _ in range(_CELLS_PER_STACK):
            offsets = (n_adds, n_adds + 1) if keep_identity else (n_adds + 7, n_adds + 8)
            inner = 6 if keep_identity else n_adds + 6
            x = _cell(builder, x, config, keep_identity, [numbered("add", count) for count in (inner, *offsets)])
            n_adds += adds_per_cell
    return builder.classifier(x, dropout=True)


def build_traced(config: Sequence[str], name: str) -> ComputeGraph:
    """Build the network of a cell without identity nodes, see `build`."""
    return build(config, name, keep_identity=False)


def _checked(config: Sequence[str]) -> Config:
    if len(config) != len(EDGE_SOURCES) or not set(config) <= set(OPS):
        raise ValueError(f"a NAS-Bench-201 cell is {len(EDGE_SOURCES)} names out of {', '.join(OPS)}; got {config!r}")
    return list(config)


def _cell(builder: GraphBuilder, x: Tensor, config: Config, keep_identity: bool, labels: Sequence[str]) -> Tensor:
    def apply(op: str, x: Tensor) -> Tensor:
        if op == "skip_connect" and keep_identity:
            return builder.identity(x)
        if op == "avg_pool_3x3":
            return builder.batchnorm(builder.avgpool(x, 3))
        if op.startswith("nor_conv"):
            return builder.batchnorm(builder.conv(builder.relu(x), x.c, int(op[-1])))
        return x

    s1, s2 = apply(config[0], x), apply(config[1], x)
    s3 = apply(config[2], s1)
    s4 = apply(config[3], x)
    s5 = apply(config[4], s1)
    s6 = apply(config[5], builder.add(s2, s3, label=labels[0]))
    return builder.add(builder.add(s6, s5, label=labels[1]), s4, label=labels[2])


def _reduction(builder: GraphBuilder, x: Tensor, channels: int, label: str) -> Tensor:
    main = builder.relu(builder.conv(x, x.c, 3))
    main = builder.conv(main, channels, 3, stride=2)
    shortcut = builder.conv(builder.avgpool(x, 3, stride=2), channels, 1)
    return builder.relu(builder.add(main, shortcut, label=label))


def read_package_labels(path: str | Path | None = None) -> dict[str, float]:
    """Read the measured CIFAR-10 accuracies of all 15,625 NAS-Bench-201 cells: architecture string -> accuracy.

    Args:
        path: The data file of the PyPI package `analog-nasbench`; None looks for the installed package. None of the
            package's code is run.

    Raises:
        InputError: The package is not installed, or its file is not what it was in version 0.1.3.
    """
    cells = load_pickle(path or _analog_data_path(), _ANALOG_CLASSES)
    try:
        return {
            architecture_string([_ANALOG_OPS[codes[position]] for position in _ANALOG_POSITIONS]): (
                cell.baseline_accuracy / 100
            )
            for codes, cell in cells.items()
        }
    except (AttributeError, TypeError, IndexError) as error:
        raise InputError(f"{path or ANALOG_NASBENCH}: not the cells of {ANALOG_NASBENCH} 0.1.3: {error}") from error


def _analog_data_path() -> Path:
    try:
        return Path(str(metadata.distribution(ANALOG_NASBENCH).locate_file(_ANALOG_DATA)))
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"-label {ANALOG_NASBENCH} needs that package: pip install --no-deps {ANALOG_NASBENCH}==0.1.3"
        ) from error
