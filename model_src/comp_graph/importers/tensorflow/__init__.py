"""TensorFlow and Keras networks -> computation graphs, with their weights."""

from model_src.comp_graph.importers.check import rebuild
from model_src.comp_graph.importers.tensorflow.keras_files import from_keras, load_keras
from model_src.comp_graph.importers.tensorflow.pb_files import load_pb
from model_src.comp_graph.importers.tensorflow.saved import load_saved_model

__all__ = ["from_keras", "load_keras", "load_pb", "load_saved_model", "rebuild"]
