"""ONNX models -> computation graphs, with their weights."""

from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.reader import from_onnx, load_onnx

__all__ = ["ImportedNetwork", "from_onnx", "load_onnx"]
