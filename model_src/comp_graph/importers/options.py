"""What the importers of foreign networks have in common. Needs neither TensorFlow nor ONNX."""

import logging
from collections.abc import Mapping
from pathlib import Path

from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape
from model_src.comp_graph.tf_comp_graph_utils import derived_normalisers
from model_src.files import InputError

logger = logging.getLogger(__name__)


def given_size(path: Path, input_h: int | None, input_w: int | None, input_c: int | None) -> Shape | None:
    """The input size that a user gave for a file, None if none was given.

    Raises:
        InputError: Only a part of it was given.
    """
    if input_h is not None and input_w is not None and input_c is not None:
        return input_h, input_w, input_c
    if (input_h, input_w, input_c) != (None, None, None):
        raise InputError(f"{path}: give input height, width and channels, or none of them")
    return None


def completed_normalisers(graph: ComputeGraph, given: Mapping[str, int | None] | None) -> dict[str, int]:
    """The given feature normalisers, completed by what the graph itself gives."""
    given, derived = given or {}, derived_normalisers(graph)
    for key, value in derived.items():
        # Channels of a published domain are exceeded by every wide classifier, so only far outliers are worth a word.
        limit = given.get(key)
        if limit and value > limit * (10 if key == "max_hidden_size" else 1):
            logger.warning("the graph's %s is %d, above the given %d", key, value, limit)
    return {key: given.get(key) or value for key, value in derived.items()}
