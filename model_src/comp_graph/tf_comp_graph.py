"""The computation graph (CG): operation vocabulary, nodes and graph, all immutable values.

Importing this module needs neither TensorFlow nor PyTorch. The class names and this module's path are what published
CG pickles name, and the pickled form written here is the published one, so files are exchanged in both directions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

from constants import OP_VOCABULARY_FILE
from model_src.comp_graph.ops import OOV_LABEL, OPERATIONS, Kind, Operation, operation_of, read_vocabulary

REGULAR, WEIGHTED = 0, 1
WHOLE = 1 << 63  # whole numbers of a node are below
DEEPEST, MOST_ENTRIES = 2, 256  # lists in lists of a node, and entries of one that holds more than integers

Shape = tuple[int, int, int]  # (H, W, C)
NodeResolution = tuple[int, int, int, int, int, int]  # (H_in, H_out, W_in, W_out, C_in, C_out)
Strides = tuple[int, int, int, int]  # (1, s_h, s_w, 1)
KernelShape = tuple[int, int, int, int]  # (C_in, C_out, k_h, k_w)


class OP2I:
    """The vocabulary of operations, which predictors know by index: label -> index, 0 for what it does not know."""

    def __init__(self, labels: Sequence[str] = ()):
        self._fill(labels)

    def _fill(self, labels: Sequence[str]) -> None:
        self._labels = (OOV_LABEL, *labels)
        self._index = {label: index for index, label in enumerate(self._labels)}

    def build_from_file(self, path: str | Path = OP_VOCABULARY_FILE) -> "OP2I":
        """Read one label per line (lower-cased, blank lines ignored) and return the filled vocabulary."""
        self._fill(read_vocabulary(path))
        return self

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, label: str) -> int:
        """Index of a label of the vocabulary, or of what an operation of that name is seen as; otherwise 0.

        Names are compared whole, up to a number at the end: `hardswish` is no `swish`.
        """
        label = label.lower()
        if label not in self._index:
            operation = OPERATIONS.find(label)
            return self._index.get(operation.seen_as, 0) if operation else 0
        return self._index[label]

    def __contains__(self, label: str) -> bool:
        return label.lower() == OOV_LABEL or self[label] != 0

    def query_op(self, index: int) -> str:
        """Label of an index.

        Raises:
            IndexError: The vocabulary has no such index.
        """
        return self._labels[index]


def _as_value(item: Any, depth: int = DEEPEST) -> Any:
    """Lists become tuples and whole floats (of 64 bits) become ints, so that equal content compares equal.

    Raises:
        ValueError: Lists in lists, deeper than any node's, which in a pickle may be the same one many times over.
    """
    if type(item) is int:  # nearly everything
        return item
    if isinstance(item, (list, tuple)):
        if set(map(type, item)) == {int}:
            return tuple(item)
        if not depth or len(item) > MOST_ENTRIES:
            raise ValueError("lists in lists of a node are deeper or longer than any node's")
        return tuple([_as_value(entry, depth - 1) for entry in item])
    if isinstance(item, float) and item.is_integer() and abs(item) < WHOLE:
        return int(item)
    if isinstance(item, str):
        return item.lower() if item.lower() in ("same", "valid") else item
    return item


def _as_text(item: Any) -> str:
    if isinstance(item, str | int):
        return str(item)
    raise TypeError(f"a {type(item).__name__} where a text belongs")


@dataclass(frozen=True)
class RegularNode:
    """An operation without a kernel.

    Attributes:
        str_id: An id that is unique in the graph.
        label: The operation's label, lower case, possibly numbered (`addn_12`).
        op_type_idx: Index in the operation vocabulary.
        resolution: (H_in, H_out, W_in, W_out, C_in, C_out).
        strides: (1, s_h, s_w, 1), or None.
        metadata: `padding`, `ksize`, `use_bias`, `groups`, ...; treat it as read-only. None where there is none.
    """

    str_id: str
    label: str
    op_type_idx: int
    resolution: NodeResolution
    strides: Strides | None = None
    metadata: Mapping[str, Any] | None = None

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # `digest` is; the fields may hold anything yet
    type_idx: ClassVar[int] = REGULAR
    _pickled: ClassVar[tuple[str, ...]] = ("str_id", "label", "op_type_idx", "resolution", "strides", "metadata")

    @property
    def in_shape(self) -> Shape:
        """(H_in, W_in, C_in)."""
        return self.resolution[0::2]

    @property
    def out_shape(self) -> Shape:
        """(H_out, W_out, C_out)."""
        return self.resolution[1::2]

    @cached_property
    def operation(self) -> Operation:
        """The operation's row in the table of operations.

        Raises:
            ValueError: Nobody registered it, or label, index and kind of node contradict each other.
        """
        try:
            operation = operation_of(self.label, self.op_type_idx)
        except ValueError as error:
            raise self.error(str(error)) from error
        weighted = operation.kind is Kind.WEIGHTED
        if weighted != (self.type_idx == WEIGHTED):
            raise self.error(f"a {operation.name} has {'a' if weighted else 'no'} kernel, unlike this node")
        return operation

    @cached_property
    def op_name(self) -> str:
        """The operation's name in tokens and permissions, without numbers and variants."""
        return self.operation.op_name

    def error(self, reason: str) -> ValueError:
        """An error that names the node, in one line."""
        return ValueError(" ".join(f"node {self.str_id} ({self.label}): {reason}".split()))

    @property
    def padding(self) -> str:
        """Lower-case padding mode; `same` where none is recorded."""
        return (self.metadata or {}).get("padding", "same")

    @property
    def use_bias(self) -> bool:
        """Whether a bias is added to the operation's result."""
        return bool((self.metadata or {}).get("use_bias"))

    @property
    def groups(self) -> int:
        """In how many parts, side by side, a convolution takes its input and output channels.

        Raises:
            ValueError: They are not so many equal parts.
        """
        groups, channels = (self.metadata or {}).get("groups", 1), self.resolution[4:]
        if type(groups) is not int or groups < 1 or any(count % groups for count in channels):
            raise self.error(f"{channels[0]} input and {channels[1]} output channels are not {groups} equal groups")
        return groups

    @property
    def kernel(self) -> KernelShape:
        """The shape of the kernel.

        Raises:
            ValueError: The node has none.
        """
        raise self.error("it has no kernel")

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that two nodes share iff they compute the same thing.

        Id and label do not count, and a bias that is not used may be left out.
        """
        metadata = (self.metadata or {}).items()
        details = sorted(
            (key, repr(value)) for key, value in metadata if key != "data_format" and (value or key != "use_bias")
        )
        kernel = getattr(self, "shape", None)
        content = (self.operation.key, self.resolution, self.strides, kernel, details)
        return blake2b(repr(content).encode(), digest_size=16).digest()

    def with_id(self, str_id: str) -> Self:
        """The same operation under another id."""
        node = object.__new__(type(self))
        node.__dict__.update(self.__dict__, str_id=str_id, digest=self.digest)  # copies need not work the digest out
        return node

    def state_dict(self) -> dict[str, Any]:
        """The node in its JSON state form."""
        return {key: getattr(self, key) for key in self._pickled}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.state_dict(), "type_idx": self.type_idx}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        metadata = state.get("metadata")
        self.__dict__.update(
            {key: _as_value(state[key]) for key in self._pickled if key not in ("metadata", "label", "str_id")},
            str_id=_as_text(state["str_id"]),
            label=_as_text(state["label"]).lower(),
            metadata=None if metadata is None else {key: _as_value(value) for key, value in metadata.items()},
        )


@dataclass(frozen=True)
class WeightedNode(RegularNode):
    """An operation with a kernel: convolution, depthwise convolution or dense.

    Attributes:
        shape: (C_in, C_out, k_h, k_w), in however many groups; depthwise (C, 1, k_h, k_w); dense (C_in, C_out, 0, 0).
    """

    shape: KernelShape = (0, 0, 0, 0)

    __hash__: ClassVar[None] = None
    type_idx: ClassVar[int] = WEIGHTED
    _pickled: ClassVar[tuple[str, ...]] = (*RegularNode._pickled, "shape")

    @property
    def kernel(self) -> KernelShape:
        """The shape of the kernel."""
        return self.shape


Node = RegularNode | WeightedNode


@overload
def node_from_state(state: Mapping[str, Any], weighted: Literal[True]) -> WeightedNode: ...
@overload
def node_from_state(state: Mapping[str, Any], weighted: Literal[False]) -> RegularNode: ...
@overload
def node_from_state(state: Mapping[str, Any], weighted: bool) -> Node: ...
def node_from_state(state: Mapping[str, Any], weighted: bool) -> Node:
    """Build a node from its JSON state form or from the attributes of a networkx node.

    Raises:
        KeyError: A field is missing.
    """
    node = object.__new__(WeightedNode if weighted else RegularNode)
    node.__setstate__(state)
    return node


@dataclass(frozen=True, eq=False)
class ComputeGraph:
    """A computation graph. Nodes are numbered weighted first, then regular; every index refers to that order.

    Attributes:
        name: Architecture name.
        input_shape: (1, H, W, C); for a part of a network one such tuple per node without predecessors.
        weighted_nodes: Nodes with a kernel.
        regular_nodes: All other nodes.
        edge_pairs: (source index, destination index), ascending, without repeats.
        max_hidden_size: Normaliser of the channel features; likewise `max_kernel_size`, `max_derived_H`, `_W`.
    """

    name: str
    input_shape: tuple[Any, ...]
    weighted_nodes: tuple[WeightedNode, ...]
    regular_nodes: tuple[RegularNode, ...]
    edge_pairs: tuple[tuple[int, int], ...]
    max_hidden_size: int | None = None
    max_kernel_size: int | None = None
    max_derived_H: int | None = None
    max_derived_W: int | None = None

    NORMALISERS: ClassVar[tuple[str, ...]] = ("max_hidden_size", "max_kernel_size", "max_derived_H", "max_derived_W")

    @classmethod
    def from_nodes(
        cls,
        name: str,
        input_shape: Sequence[Any],
        nodes: Sequence[Node],
        edges: Iterable[tuple[int, int]],
        normalisers: Mapping[str, int | None] | None = None,
    ) -> "ComputeGraph":
        """Build a graph from nodes in any order and edges between positions in that order."""
        weighted = [position for position, node in enumerate(nodes) if node.type_idx == WEIGHTED]
        regular = [position for position, node in enumerate(nodes) if node.type_idx != WEIGHTED]
        index = {position: new for new, position in enumerate(weighted + regular)}
        # A dictionary, unlike a set, keeps the order that the edges come in: runs of it are cheap to sort.
        pairs = dict.fromkeys([(index[src], index[dst]) for src, dst in edges])
        return cls(
            name,
            tuple(input_shape),
            tuple([node for node in nodes if isinstance(node, WeightedNode)]),
            tuple([node for node in nodes if not isinstance(node, WeightedNode)]),
            tuple(sorted(pairs)),
            **(normalisers or {}),
        )

    @property
    def normalisers(self) -> dict[str, int | None]:
        """The four feature normalisers by name."""
        return {key: getattr(self, key) for key in self.NORMALISERS}

    def with_normalisers(self, normalisers: Mapping[str, int | None]) -> "ComputeGraph":
        """The same graph under other feature normalisers."""
        return ComputeGraph(
            self.name, self.input_shape, self.weighted_nodes, self.regular_nodes, self.edge_pairs, **normalisers
        )

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, weighted first."""
        return self.weighted_nodes + self.regular_nodes

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.weighted_nodes) + len(self.regular_nodes)

    @property
    def n_weighted_nodes(self) -> int:
        """Number of nodes with a kernel."""
        return len(self.weighted_nodes)

    @property
    def n_regular_nodes(self) -> int:
        """Number of nodes without a kernel."""
        return len(self.regular_nodes)

    @property
    def regular_node_start_idx(self) -> int:
        """Index of the first regular node."""
        return len(self.weighted_nodes)

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """Per node, the indices of its distinct predecessors, ascending."""
        neighbours: list[list[int]] = [[] for _ in range(self.n_nodes)]
        for source, target in self.edge_pairs:
            neighbours[target].append(source)
        return tuple(map(tuple, neighbours))

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """Per node, the indices of its distinct successors, ascending."""
        neighbours: list[list[int]] = [[] for _ in range(self.n_nodes)]
        for source, target in self.edge_pairs:
            neighbours[source].append(target)
        return tuple(map(tuple, neighbours))

    @property
    def src_id2dst_ids_dict(self) -> dict[str, set[str]]:
        """`str_id` of a node -> the `str_id`s of its successors, for nodes that have any."""
        ids = [node.str_id for node in self.nodes]
        return {ids[index]: {ids[other] for other in others} for index, others in enumerate(self.successors) if others}

    @property
    def input_index(self) -> int:
        """Index of the only node that has no predecessor.

        Raises:
            ValueError: There is not exactly one.
        """
        return self._only_end(self.predecessors, self.successors, "input")

    @property
    def output_index(self) -> int:
        """Index of the only node that has no successor.

        Raises:
            ValueError: There is not exactly one.
        """
        return self._only_end(self.successors, self.predecessors, "output")

    def _only_end(self, empty: Sequence[Sequence[int]], filled: Sequence[Sequence[int]], kind: str) -> int:
        ends = [i for i in range(self.n_nodes) if not empty[i] and (filled[i] or self.n_nodes == 1)]
        if len(ends) != 1:
            raise ValueError(f"{self.name}: expected one {kind} node, found {len(ends)}")
        return ends[0]

    def state_dict(self) -> dict[str, Any]:
        """The graph in its JSON state form (lists and plain values only when passed through json)."""
        return {
            "name": self.name,
            "input_shape": self.input_shape,
            **self.normalisers,
            "edge_pairs": self.edge_pairs,
            "regular_nodes": [node.state_dict() for node in self.regular_nodes],
            "weighted_nodes": [node.state_dict() for node in self.weighted_nodes],
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "ComputeGraph":
        """Build a graph from its JSON state form.

        Raises:
            ValueError: A field is missing or the edges do not fit the nodes.
        """
        try:
            parts = {
                "weighted_nodes": [node_from_state(node, True) for node in state["weighted_nodes"]],
                "regular_nodes": [node_from_state(node, False) for node in state["regular_nodes"]],
            }
            graph = object.__new__(cls)
            graph.__setstate__({**state, **parts})
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a computation graph: {type(error).__name__} {error}") from error
        return graph

    def __getstate__(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "input_shape": self.input_shape,
            "edge_pairs": list(self.edge_pairs),
            "regular_nodes": list(self.regular_nodes),
            "weighted_nodes": list(self.weighted_nodes),
            "n_regular_nodes": self.n_regular_nodes,
            "n_weighted_nodes": self.n_weighted_nodes,
            **self.normalisers,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        weighted, regular = tuple(state["weighted_nodes"]), tuple(state["regular_nodes"])
        edges = tuple(sorted({(index(src), index(dst)) for src, dst in state["edge_pairs"]}))
        count = len(weighted) + len(regular)
        if edges and (min(map(min, edges)) < 0 or max(map(max, edges)) >= count):
            raise ValueError(f"an edge leaves the range of the {count} nodes")
        self.__dict__.update(
            name=_as_text(state["name"]),
            input_shape=_as_value(state["input_shape"]),
            weighted_nodes=_with_whole_channels(weighted, state.get("max_hidden_size")),
            regular_nodes=regular,
            edge_pairs=edges,
            **{key: _as_value(state.get(key)) for key in self.NORMALISERS},
        )

    def __repr__(self) -> str:
        return f"ComputeGraph({self.name!r}, {self.n_nodes} nodes, {len(self.edge_pairs)} edges)"


def _with_whole_channels(nodes: tuple[WeightedNode, ...], scale: int | None) -> tuple[WeightedNode, ...]:
    """Undo the division of kernel channels by `scale` that published NB-101 files carry."""
    if not scale or not any(isinstance(size, float) for node in nodes for size in node.shape[:2]):
        return nodes
    return tuple(
        node_from_state(
            {**node.state_dict(), "shape": (*(round(size * scale) for size in node.shape[:2]), *node.shape[2:])}, True
        )
        for node in nodes
    )
