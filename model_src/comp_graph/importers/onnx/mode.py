"""Whether an operation computes as in training, which every version of ONNX says in another way."""

from collections.abc import Mapping

import numpy as np

from model_src.comp_graph.importers.onnx.op import OnnxOp

TRAINING = "it computes as in training, not as at inference; export the network in inference mode"


def with_mode(op: OnnxOp, version: int, constants: Mapping[str, np.ndarray]) -> OnnxOp:
    """The operation, whose attribute `training_mode` is true if and only if it computes as in training.

    Args:
        op: The operation with all of its results, also those that nobody reads.
        version: Of ONNX's operations.
        constants: Tensors that do not depend on the image.
    """
    if op.type == "BatchNormalization" and version < 14:
        trains = any(op.outputs[1:]) and not op.attributes.get("is_test")
    elif op.type == "Dropout":
        trains = _drops(op, version, constants)
    else:
        return op
    return op._replace(attributes={**op.attributes, "training_mode": trains})


def _drops(op: OnnxOp, version: int, constants: Mapping[str, np.ndarray]) -> bool:
    inputs = (*op.inputs, "", "")
    if version < 12:
        return version < 7 and not op.attributes.get("is_test") and op.attributes.get("ratio", 0.5) > 0
    ratio, mode = constants.get(inputs[1]), constants.get(inputs[2])
    if not inputs[2] or (mode is not None and not mode.any()):
        return False
    return ratio is None or bool(ratio.any())
