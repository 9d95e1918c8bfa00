"""TensorFlow and Keras networks -> computation graphs."""

from model_src.comp_graph.importers.tensorflow.frozen import from_graph_def, from_keras, load_pb
from model_src.comp_graph.importers.tensorflow.saved import load_keras, load_saved_model

__all__ = ["from_graph_def", "from_keras", "load_keras", "load_pb", "load_saved_model"]
