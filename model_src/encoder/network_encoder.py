"""A network as text: every node becomes a label, every label one character."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, load_pickle, save_pickle

if TYPE_CHECKING:
    import networkx as nx

    Graph: TypeAlias = ComputeGraph | nx.DiGraph

NodeId: TypeAlias = Any  # an index in a computation graph, whatever can be hashed in a networkx graph
ByNode: TypeAlias = Sequence[str] | Mapping[NodeId, str]

# CJK Unified Ideographs: 20,992 characters that NFKC, hence SentencePiece, leaves alone.
CJK_POOL = "".join(map(chr, range(0x4E00, 0xA000)))
# The geta mark, typographers' stand-in for a missing character: NFKC leaves it alone and no pool contains it.
UNKNOWN = "\u3013"

Feature: TypeAlias = Callable[[Sequence[int], Sequence[int] | None], str]

_PUBLISHED_CLASS = "Network_Encoder"
_PUBLISHED_MODULES = ("encoder.network_encoder", "model_src.encoder.network_encoder")


@dataclass
class NetworkEncoder:
    """The character of every known node label.

    Attributes:
        families: Names of the families that the labels were collected from.
        encoding: What a label says of its node: `op`, `res`, `res_ratio`, `shp` or `chn`; with `nio` in its name,
            the labels leave out the neighbours.
        op2vocab: Label -> character.
        pool: Where characters for new labels come from: the first label has the first one, and so on.
    """

    families: tuple[str, ...] = ()
    encoding: str = "shp"
    op2vocab: dict[str, str] = field(default_factory=dict)
    pool: str = CJK_POOL

    @property
    def vocab2op(self) -> dict[str, str]:
        """Character -> label."""
        return {character: label for label, character in self.op2vocab.items()}

    def encode_graph(self, graph: "Graph", node_list: Sequence[NodeId] | None = None) -> str:
        """Write a network as text, one character per node; unknown labels become `UNKNOWN`.

        Args:
            graph: A computation graph, or a networkx graph as `cg_to_nx` makes it.
            node_list: Nodes to write and their order; all of them in topological order if it is not given.
        """
        known = self.op2vocab
        return "".join([known.get(label, UNKNOWN) for label in self.token_labels(graph, node_list)])

    def learn(self, graph: "Graph", node_list: Sequence[NodeId] | None = None) -> str:
        """Write a network as text, taking a new character from the pool for every unknown label.

        Raises:
            InputError: The pool is used up.
        """
        labels = self.token_labels(graph, node_list)
        for label in labels:
            if label not in self.op2vocab:
                if len(self.op2vocab) == len(self.pool):
                    raise InputError(f"the encoder's {len(self.pool)} characters are used up; use a coarser encoding")
                self.op2vocab[label] = self.pool[len(self.op2vocab)]
        return "".join([self.op2vocab[label] for label in labels])

    def in_order_of(self, texts: Sequence[str]) -> tuple["NetworkEncoder", list[str]]:
        """The encoder that would have learnt these texts in this order, and they as it writes them.

        Args:
            texts: All that this one has learnt from.
        """
        labels, met = self.vocab2op, dict.fromkeys(character for text in texts for character in text)
        other = dict(zip(met, self.pool, strict=False))
        table = str.maketrans(other)
        learnt = {labels[character]: own for character, own in other.items()}
        return replace(self, op2vocab=learnt), [text.translate(table) for text in texts]

    def token_labels(self, graph: "Graph", order: Iterable[NodeId] | None = None) -> list[str]:
        """Describe nodes by operation, feature and direct neighbours: `conv2d,3,in,input,,out,fusedbatchnorm,`."""
        order = generation_order(graph) if order is None else order
        own, before, after = _views(graph, _feature_text(self.encoding))
        if "nio" in self.encoding:
            return [own[node] for node in order]
        return [f"{own[node]},in,{before[node]},out,{after[node]}" for node in order]

    @classmethod
    def load(cls, path: str | Path) -> "NetworkEncoder":
        """Read an encoder, ours or a published pickle.

        Raises:
            InputError: The file is missing, damaged, names a foreign class or is not an encoder.
        """
        stand_in = type(_PUBLISHED_CLASS, (), {})  # made anew, so that no file can leave anything on it
        content = load_pickle(path, {(module, _PUBLISHED_CLASS): stand_in for module in _PUBLISHED_MODULES})
        state = content if isinstance(content, dict) else getattr(content, "__dict__", {})
        try:
            labels = dict(state["op2vocab"])
            if not all(isinstance(label, str) and len(character) == 1 for label, character in labels.items()):
                raise TypeError("labels and characters are texts")
            # The published encoder never uses the first character of its pool.
            pool = state["chinese_char_list"][1:] if "chinese_char_list" in state else state.get("pool", CJK_POOL)
            return cls(tuple(state.get("families", ())), str(state.get("encoding", "op")), labels, "".join(pool))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a network encoder ({type(error).__name__}: {error})") from error

    def save(self, path: str | Path) -> None:
        """Write the encoder as a pickle of plain containers."""
        state = {"families": list(self.families), "encoding": self.encoding, "op2vocab": self.op2vocab}
        if self.pool != CJK_POOL:
            state["pool"] = self.pool
        save_pickle(state, path)


def generation_order(graph: "Graph") -> list[NodeId]:
    """Order the nodes of either kind of graph generation by generation.

    Raises:
        ValueError: A computation graph has a cycle.
        networkx.NetworkXUnfeasible: A networkx graph has a cycle.
    """
    if isinstance(graph, ComputeGraph):
        return topological_order(graph)
    import networkx as nx

    return list(nx.topological_sort(graph))


def _views(graph: "Graph", feature: Feature) -> tuple[ByNode, ByNode, ByNode]:
    """By node: operation name with feature, names of the predecessors, names of the successors, each with a comma."""
    if isinstance(graph, ComputeGraph):
        names = [node.op_name for node in graph.nodes]
        kernels = [*(node.shape for node in graph.weighted_nodes), *(None for _ in graph.regular_nodes)]
        facts = zip(names, graph.nodes, kernels, strict=True)
        before, after = [""] * graph.n_nodes, [""] * graph.n_nodes
        for source, target in graph.edge_pairs:
            before[target] += names[source] + ","
            after[source] += names[target] + ","
        return [name + feature(node.resolution, kernel) for name, node, kernel in facts], before, after
    attributes = graph.nodes.items()
    own = {node: data["op_name"] + feature(data.get("resolution"), data.get("shape")) for node, data in attributes}
    return own, _neighbour_names(graph, graph.pred), _neighbour_names(graph, graph.succ)


def _neighbour_names(graph: "nx.DiGraph", neighbours: Mapping[NodeId, Iterable[NodeId]]) -> dict[NodeId, str]:
    names = {node: data["op_name"] for node, data in graph.nodes.items()}
    return {node: "".join([names[other] + "," for other in others]) for node, others in neighbours.items()}


def _feature_text(encoding: str) -> Feature:
    """How an encoding writes a node's resolution (six integers) or kernel shape (None where there is no kernel)."""
    if encoding == "res":
        return lambda resolution, shape: "," + ",".join(map(str, resolution))
    if encoding == "res_ratio":
        return _ratio_text
    if "shp" in encoding:
        return lambda resolution, shape: f",{shape[3]}" if shape else ""
    if "chn" in encoding:
        return lambda resolution, shape: f",{shape[1]}" if shape else ""
    return lambda resolution, shape: ""


def _ratio_text(resolution: Sequence[int], shape: Sequence[int] | None) -> str:
    h_in, h_out, w_in, w_out, c_in, c_out = resolution
    return f",1.0,{h_out / h_in},1.0,{w_out / w_in},1.0,{c_out / c_in}"
