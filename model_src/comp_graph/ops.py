"""The operations that a computation graph can hold, one row each.

Whoever asks what an operation is called, costs, gives or may be used for asks its row. To add an operation, add a row
at the end of this file and register what stands for it in the backends that the row names (`registry.Registry`).
Needs neither NumPy nor a framework.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from constants import OP_VOCABULARY_FILE
from model_src.comp_graph import sizes
from model_src.comp_graph import tf_comp_graph_flops_counter as cost

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import Node

OOV_LABEL = "<oov>"  # index 0: what the vocabulary does not know
N_PUBLISHED = 26  # labels of the vocabulary file before `reserved1`


class Kind(Enum):
    """How an operation makes its result."""

    WEIGHTED = "weighted"  # with a kernel: its nodes are weighted nodes
    WINDOW = "window"  # from the pixels under a window, without a kernel
    MERGE = "merge"  # from several inputs; with a single one it does nothing
    POINTWISE = "pointwise"  # every number from the one in its place
    FIXED = "fixed"  # in a way that only fits where it stands: ends of a network, changes of a map's size


class Channels(Enum):
    """How the channels of a result follow from those of the inputs."""

    PASSED = "passed"  # as many as each input has
    CHOSEN = "chosen"  # a number of the node's own
    SUMMED = "summed"  # all inputs side by side


class Backend(Enum):
    """What can stand for an operation; a row names those that do (importers make the ends of a network themselves)."""

    ONNX_IMPORT = "ONNX import"
    TF_IMPORT = "TensorFlow import"
    TORCH = "PyTorch network"
    KERAS = "Keras network"
    ONNX_EXPORT = "ONNX export"
    TORCH_EXPORT = "PyTorch file"
    TF_EXPORT = "TensorFlow export"


@dataclass(frozen=True, eq=False)
class Operation:
    """A row of the table.

    Attributes:
        name: Its name, by which backends register; for the published operations their label in the vocabulary file.
        kind: How it makes its result.
        macs: MACs of a node with one input; `cost.free` says that it costs nothing.
        label: What new nodes are labelled with; the name if not given.
        op_name: Its name in tokens, permissions and pictures; the name if not given.
        aliases: Other names for it in labels. Labels are compared whole, up to a number at the end (`addn_12`).
        older: Pattern of labels that published and older files give it besides; it counts where the index agrees.
        channels: How its channels follow from its inputs'.
        size: (H, W) of its result for a map (H, W).
        parameters: Trainable parameters of a node. An operation that has any needs all channels that it was made for.
        is_product: Several inputs are multiplied; those of other operations are summed, or joined if channels are.
        is_mutable: A mutation may take it out of a network and bring it in; never one of kind `FIXED`.
        is_positive: No number of its result is negative.
        reads_apart: Several inputs are handed to it one by one, from ports, and not joined.
        needs_order: Which place among its input a channel has makes a difference, and no weights can make up for it.
        seen_as: The label in the vocabulary file that predictors see it as: the name if not given, a label of an
            operation that is alike, or one of `reserved1` to `reserved5`.
        backends: What can stand for it; all if not given.
    """

    name: str
    kind: Kind
    macs: Callable[["Node"], int]
    label: str = ""
    op_name: str = ""
    aliases: tuple[str, ...] = ()
    older: str = ""
    channels: Channels = Channels.PASSED
    size: Callable[["Node", int, int], tuple[int, int]] = sizes.same_size
    parameters: Callable[["Node"], int] = cost.free
    is_product: bool = False
    is_mutable: bool = True
    is_positive: bool = False
    needs_order: bool = False
    reads_apart: bool = False
    seen_as: str = ""
    backends: frozenset[Backend] = frozenset(Backend)

    def __post_init__(self) -> None:
        for field in ("label", "op_name", "seen_as"):
            object.__setattr__(self, field, getattr(self, field) or self.name)
        object.__setattr__(self, "is_mutable", self.is_mutable and self.kind is not Kind.FIXED)

    @cached_property
    def index(self) -> int:
        """Index in the vocabulary of the label that it is seen as."""
        return vocabulary().index(self.seen_as) + 1

    @cached_property
    def key(self) -> int | str:
        """What tells it from all others in hashes: its index, or its name where it is seen as another operation."""
        return self.index if self.seen_as == self.name else self.name

    @cached_property
    def names(self) -> frozenset[str]:
        """All that a label may call it."""
        return frozenset({self.name, self.label, *self.aliases})

    @cached_property
    def has_window(self) -> bool:
        """Whether it has strides that divide the size of a map."""
        return self.size is sizes.under_window

    @cached_property
    def has_parameters(self) -> bool:
        """Whether it is made for a number of channels, all of which it needs."""
        return self.parameters is not cost.free

    @cached_property
    def needs_channels(self) -> bool:
        """Whether it works with nothing less than the channels that it was made for."""
        return self.has_parameters or self.channels is Channels.CHOSEN

    @cached_property
    def is_merge(self) -> bool:
        """Whether it joins several inputs."""
        return self.kind is Kind.MERGE

    def is_idle(self, n_inputs: int) -> bool:
        """Whether a node with so many distinct inputs is a merge that has nothing to join."""
        return self.is_merge and n_inputs < 2

    def kernel_shape(self, c_in: int, c_out: int, k_h: int = 0, k_w: int = 0) -> tuple[int, int, int, int]:
        """The shape of a weighted node's kernel: (C_in, C_out, k_h, k_w), (C_in, 1, ...) if channels are passed on."""
        return c_in, c_out if self.channels is Channels.CHOSEN else 1, k_h, k_w


def read_vocabulary(path: str | Path = OP_VOCABULARY_FILE) -> tuple[str, ...]:
    """The labels that predictors know, one per line (lower-cased, blank lines ignored); label i has index i + 1."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").lower().splitlines())
    return tuple(line for line in lines if line and line != OOV_LABEL)


vocabulary = cache(read_vocabulary)


class OperationTable:
    """The rows, by name."""

    def __init__(self, rows: Iterable[Operation] = ()):
        self._rows: dict[str, Operation] = {}
        self._by_label: dict[str, Operation] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Operation) -> None:
        """Add an operation.

        Raises:
            ValueError: Another one has one of its names.
        """
        for name in sorted(row.names):
            if name in self._by_label:
                raise ValueError(f"{name!r} is a name of operation {self._by_label[name].name!r} already")
        self._rows[row.name] = row
        self._by_label |= dict.fromkeys(row.names, row)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._rows.values())

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> Operation:
        """The operation that is registered under exactly this name.

        Raises:
            ValueError: There is none.
        """
        if name not in self._rows:
            raise ValueError(f"unknown operation {name!r}; {_WHERE}")
        return self._rows[name]

    def find(self, label: str) -> Operation | None:
        """The operation that a label names: one of its names, with a number behind it or not; None for none."""
        return self._by_label.get(label) or self._by_label.get(_NUMBER.sub("", label))


_NUMBER = re.compile(r"_\d+$")
_WHERE = "operations are registered in model_src/comp_graph/ops.py"


@lru_cache(maxsize=1 << 14)
def operation_of(label: str, index: int) -> Operation:
    """The operation of a node, from its label and its index in the vocabulary.

    The index alone does not tell: several operations may be seen as one. Neither does the label: published files call
    every relu6 `relu`.

    Raises:
        ValueError: Nobody registered such an operation, or label and index contradict each other.
    """
    named = OPERATIONS.find(label)
    if named is not None and named.index == index:
        return named
    of_index = OPERATIONS[vocabulary()[index - 1]] if 0 < index <= N_PUBLISHED else None
    if named is not None and of_index is not None:
        if named.op_name == of_index.op_name:
            return of_index
        raise ValueError(f"its label says {named.name}, its index {index} says {of_index.name}")
    if of_index is not None and re.fullmatch(of_index.older, label):
        return of_index
    raise ValueError(f"unknown operation {label!r} (index {index}); {_WHERE}")


_WEIGHTED, _WINDOW, _MERGE, _POINTWISE, _FIXED = Kind
_ONLY_READ = frozenset({Backend.TF_IMPORT})  # a TensorFlow graph may hold them, but no network computes them
_NOT_FROM_TF = frozenset(Backend) - {Backend.TF_IMPORT}

# fmt: off
OPERATIONS = OperationTable([
    # The published operations.
    Operation("input", _FIXED, cost.free, older=r"inputs?(_.*)?"),
    Operation("output", _FIXED, cost.free, older=r"outputs?(_.*)?"),
    Operation("conv", _WEIGHTED, cost.conv_macs, label="conv2d", op_name="conv2d",
              channels=Channels.CHOSEN, size=sizes.under_window, parameters=cost.conv_parameters),
    Operation("depthwise", _WEIGHTED, cost.depthwise_macs, aliases=("depthwise_conv2d", "depthwiseconv2dnative"),
              size=sizes.under_window, parameters=cost.depthwise_parameters),
    Operation("batchnorm", _POINTWISE, cost.batchnorm_macs, label="fusedbatchnormv3", op_name="fusedbatchnorm",
              aliases=("fusedbatchnorm", "fusedbatchnormv2"), older=r"(.*_)?fusedbatchnorm(v2|v3)?(_.*)?",
              parameters=cost.batchnorm_parameters),
    Operation("relu", _POINTWISE, cost.output_macs, is_positive=True),
    Operation("relu6", _POINTWISE, cost.output_macs, op_name="relu", older=r"(.*_)?relu6(_.*)?", is_positive=True),
    Operation("matmul", _WEIGHTED, cost.matmul_macs, aliases=("batchmatmul", "batchmatmulv2"),
              channels=Channels.CHOSEN, parameters=cost.matmul_parameters, is_mutable=False),
    Operation("add", _MERGE, cost.output_macs, aliases=("addn", "add_n", "addv2"),
              older=r"(.*_)?add(n|_n|v2)?(_.*)?"),
    Operation("mul", _MERGE, cost.output_macs, is_product=True),
    Operation("concat", _MERGE, cost.free, aliases=("cat", "concatv2"), channels=Channels.SUMMED),
    Operation("maxpool", _WINDOW, cost.output_macs, size=sizes.under_window),
    Operation("avgpool", _WINDOW, cost.output_macs, size=sizes.under_window),
    Operation("sigmoid", _POINTWISE, cost.output_macs, is_positive=True),
    Operation("tanh", _POINTWISE, cost.output_macs),
    Operation("swish", _POINTWISE, cost.output_macs),
    Operation("gelu", _POINTWISE, cost.free),
    Operation("paddings", _FIXED, cost.free, size=sizes.padded),
    Operation("mean", _FIXED, cost.output_macs, size=sizes.one_pixel),
    *(Operation(name, _FIXED, cost.free, channels=Channels.CHOSEN, size=sizes.as_recorded, backends=_ONLY_READ)
      for name in ("spacetobatchnd", "batchtospacend")),
    *(Operation(name, _FIXED, cost.free, channels=Channels.CHOSEN, size=sizes.in_blocks, needs_order=True)
      for name in ("spacetodepthnd", "depthtospacend")),
    Operation("global", _FIXED, cost.output_macs, size=sizes.one_pixel,
              backends=frozenset(Backend) - {Backend.ONNX_IMPORT}),
    Operation("identity", _POINTWISE, cost.free),
    Operation("zero", _POINTWISE, cost.free, is_positive=True),
    # Further operations. Predictors see them as one of the published ones or as `reserved1` to `reserved5`.
    Operation("conv2d_transpose", _WEIGHTED, cost.transposed_macs, channels=Channels.CHOSEN, size=sizes.transposed,
              parameters=cost.grouped_parameters, is_mutable=False, needs_order=True, seen_as="conv"),
    Operation("resize", _FIXED, cost.output_macs, size=sizes.resized, seen_as="identity", backends=_NOT_FROM_TF),
    Operation("globalmax", _FIXED, cost.output_macs, size=sizes.one_pixel, seen_as="mean", backends=_NOT_FROM_TF),
    Operation("pad_channels", _FIXED, cost.free, channels=Channels.CHOSEN, needs_order=True, seen_as="paddings",
              backends=_NOT_FROM_TF),
    Operation("lrn", _FIXED, cost.output_macs, needs_order=True, seen_as="batchnorm", backends=_NOT_FROM_TF),
    Operation("grouped_conv", _WEIGHTED, cost.grouped_macs, channels=Channels.CHOSEN, size=sizes.under_window,
              parameters=cost.grouped_parameters, seen_as="conv"),
    *(Operation(name, _POINTWISE, cost.output_macs, seen_as=seen_as, backends=_NOT_FROM_TF)
      for name, seen_as in (("leakyrelu", "relu"), ("elu", "relu"), ("hardswish", "swish"), ("clip", "relu6"),
                            ("scale", "identity"), ("reciprocal", "identity"))),
    Operation("prelu", _POINTWISE, cost.output_macs, parameters=cost.slope_parameters, seen_as="relu",
              backends=_NOT_FROM_TF),
    Operation("hardsigmoid", _POINTWISE, cost.output_macs, is_positive=True, seen_as="sigmoid", backends=_NOT_FROM_TF),
    Operation("gelu_tanh", _POINTWISE, cost.free, seen_as="gelu", backends=_NOT_FROM_TF),
    *(Operation(name, _FIXED, cost.free, channels=Channels.CHOSEN, size=size, needs_order=True, seen_as="identity",
                backends=_NOT_FROM_TF)
      for name, size in (("slice", sizes.sliced), ("gather", sizes.same_size), ("shuffle", sizes.same_size),
                         ("broadcast", sizes.repeated))),
    Operation("port", _FIXED, cost.free, seen_as="identity", backends=_NOT_FROM_TF),
    Operation("softmax", _FIXED, cost.output_macs, is_positive=True, seen_as="sigmoid", backends=_NOT_FROM_TF),
    Operation("layernorm", _POINTWISE, cost.batchnorm_macs, parameters=cost.batchnorm_parameters,
              seen_as="batchnorm", backends=_NOT_FROM_TF),
    Operation("opaque", _FIXED, cost.recorded_macs, channels=Channels.CHOSEN, size=sizes.as_recorded,
              parameters=cost.region_parameters, needs_order=True, reads_apart=True, seen_as="reserved1",
              backends=_NOT_FROM_TF - {Backend.KERAS, Backend.TF_EXPORT}),
    Operation("groupnorm", _FIXED, cost.batchnorm_macs, parameters=cost.batchnorm_parameters, needs_order=True,
              seen_as="batchnorm", backends=_NOT_FROM_TF),
])
# fmt: on
