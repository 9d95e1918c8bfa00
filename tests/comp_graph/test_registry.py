"""Who has something for which operation: the table's word against the code."""

import pytest

from model_src.comp_graph.ops import OPERATIONS, Backend
from model_src.comp_graph.region import Region, RegionOp
from model_src.comp_graph.registry import MissingOperation, Registry
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from tests.conftest import conv, regular

ENDS = {"input", "output"}  # importers make them themselves


def claimed(backend: Backend) -> set[str]:
    """The operations whose rows name a backend."""
    return {row.name for row in OPERATIONS if backend in row.backends}


def test_onnx_import():
    pytest.importorskip("onnx")
    from model_src.comp_graph.importers.onnx.operations import CONVERTERS

    assert CONVERTERS.operations == claimed(Backend.ONNX_IMPORT) - ENDS - {"opaque", "port"}  # of several operations


def test_tensorflow_import():
    from model_src.comp_graph.importers.tensorflow.operations import READERS

    assert READERS.operations | ENDS == claimed(Backend.TF_IMPORT)
    assert all(len(READERS.operations_of(kind)) == 1 for kind in READERS if kind[0].isupper())


def test_pytorch_network():
    from model_src.comp_graph.networks.torch_layers import LAYERS

    assert LAYERS.operations == claimed(Backend.TORCH)


def test_keras_network_and_its_weights():
    pytest.importorskip("tensorflow")
    from model_src.comp_graph.exporters.tensorflow import WEIGHTS
    from model_src.comp_graph.networks.keras_layers import LAYERS

    assert LAYERS.operations == claimed(Backend.KERAS)
    assert WEIGHTS.operations == {name for name in claimed(Backend.TF_EXPORT) if OPERATIONS[name].has_parameters}
    assert claimed(Backend.TF_EXPORT) == {n for n in LAYERS if n in WEIGHTS or not OPERATIONS[n].has_parameters}


def test_onnx_export():
    pytest.importorskip("onnx")
    from model_src.comp_graph.exporters.onnx import FORMS

    assert FORMS.operations == claimed(Backend.ONNX_EXPORT)


RELU = Region(((3, 4, 4),), (), (), (RegionOp("Relu", ("x0",), {}),)).text()


def node_of(name: str):
    """A node of an operation on 4x4 maps of 3 channels."""
    row = OPERATIONS[name]
    window = {"strides": (1, 1, 1, 1), "metadata": {"padding": "same", "ksize": (1, 2, 2, 1)}}
    window["metadata"] |= {"index": (0, 1, 2), "port": 0, "region": RELU}
    if name == "resize":
        window["metadata"] |= {"factor_h": (1, 1), "factor_w": (1, 1)}
    if row.has_parameters and row.kind.value == "weighted":
        fields = {**conv("x", 4, 3, 3).state_dict(), "label": row.label, "op_type_idx": row.index}
        return type(conv("x", 4, 3, 3))(**fields)
    return regular("x", row.label, row.index, 4, 3, **window)


@pytest.mark.parametrize("name", [row.name for row in OPERATIONS if Backend.TORCH in row.backends])
def test_pytorch_files(name):
    """Layers of PyTorch's own need no form of theirs, so what counts is whether the file can be written."""
    from model_src.comp_graph.exporters.torch import module_source
    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network

    graph = ComputeGraph.from_nodes("one", (1, 4, 4, 3), [node_of(name)], [])
    source = module_source(graph, build_torch_network(graph, squeeze_output=False))
    assert compile(source, "network.py", "exec")
    assert Backend.TORCH_EXPORT in OPERATIONS[name].backends


def test_a_registry_refuses_repeats_and_what_has_no_row():
    registry: Registry = Registry(Backend.TORCH)
    registry.register("relu", "tanh")(len)
    with pytest.raises(ValueError, match="PyTorch network: 'tanh' has two functions"):
        registry.register("gelu", "tanh")(len)
    with pytest.raises(ValueError, match="unknown operation 'mish'"):
        registry.register("mish")(len)
    assert registry.operations == {"relu", "tanh"}
    assert "gelu" not in registry
    assert registry["relu"] is len


def test_a_missing_operation_is_named_with_those_who_have_it():
    registry: Registry = Registry(Backend.ONNX_IMPORT)
    known = "TensorFlow import, PyTorch network, Keras network, ONNX export, PyTorch file, TensorFlow export"
    with pytest.raises(MissingOperation, match=f"no ONNX import of 'global' is registered; there is: {known}"):
        _ = registry["global"]
    with pytest.raises(MissingOperation, match="no ONNX import of 'mish' is registered; it is no operation"):
        _ = registry["mish"]


def test_a_variant_replaces_what_its_base_has():
    base: Registry = Registry(Backend.TORCH)
    base.register("relu", "tanh")(len)
    variant: Registry = Registry(Backend.TORCH, base)
    variant.register("relu", "conv2d_transpose")(max)
    assert (variant["relu"], variant["tanh"], base["relu"]) == (max, len, len)
    assert variant.operations == set(variant) == {"relu", "tanh", "conv2d_transpose"}
    assert "conv2d_transpose" not in base


def test_importers_register_by_foreign_type():
    registry: Registry = Registry(Backend.ONNX_IMPORT)
    registry.register("relu", "relu6", types=("Clip", "Relu"))(len)
    assert registry["Clip"] is len
    assert "relu" not in registry
    assert registry.operations == {"relu", "relu6"}
    assert registry.operations_of("Relu") == ("relu", "relu6")
    with pytest.raises(ValueError, match="'Clip' has two functions"):
        registry.register("relu", types=("Clip",))(len)
