"""What there is to know about the tensors of a model before any of its operations is read."""

import numpy as np

from model_src.comp_graph.importers.onnx.model import PreparedModel
from model_src.comp_graph.importers.onnx.op import OnnxOp


class Lookup:
    """Tensors by name: their shapes, constants, and who gives and reads them.

    Attributes:
        from_torch: See `PreparedModel`; likewise `opset`.
        batch: Images that the model reads at once.
    """

    def __init__(self, model: PreparedModel):
        self._model = model
        self.from_torch = model.from_torch
        self.opset = model.opset
        self.batch = model.shapes[model.input_name][0]
        self._producers = {name: op for op in model.ops for name in op.outputs}
        self._readers: dict[str, list[OnnxOp]] = {model.output_name: []}
        for op in model.ops:
            for tensor in op.inputs:
                self._readers.setdefault(tensor, []).append(op)

    def constant(self, op: OnnxOp, index: int) -> np.ndarray | None:
        """An operand that does not depend on the image; None where there is none.

        Raises:
            ValueError: It depends on the image.
        """
        if len(op.inputs) <= index or not op.inputs[index]:
            return None
        if op.inputs[index] not in self._model.constants:
            raise op.error(f"its operand {op.inputs[index]!r} depends on the image; only constants can be read there")
        return self._model.constants[op.inputs[index]]

    def parameter(self, op: OnnxOp, index: int) -> np.ndarray:
        """An operand that does not depend on the image and without which there is no operation.

        Raises:
            ValueError: It depends on the image, or there is none.
        """
        value = self.constant(op, index)
        if value is None:
            raise op.error(f"it has no operand {index}")
        return value

    def bias(self, op: OnnxOp, index: int) -> np.ndarray | None:
        """A bias operand; None too where it is zeros that are no parameter, as PyTorch writes for none."""
        bias = self.constant(op, index)
        is_none = bias is None or (op.inputs[index] not in self._model.stored and not bias.any())
        return None if is_none else bias

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Shape of a tensor of the model."""
        return self._model.shapes[tensor]

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor does not depend on the image."""
        return tensor in self._model.constants

    def is_literal(self, tensor: str) -> bool:
        """Whether a constant is written into the model's operations, rather than a parameter or made of some."""
        return tensor in self._model.literal

    def is_output(self, op: OnnxOp) -> bool:
        """Whether an operation gives the model's result."""
        return self._model.output_name in op.outputs

    def producer(self, tensor: str) -> OnnxOp | None:
        """The operation that gives a tensor."""
        return self._producers.get(tensor)

    def only_reader(self, tensor: str) -> OnnxOp | None:
        """The operation that reads a tensor, if there is only one, which reads it once; the model's result has none."""
        readers = self._readers.get(tensor, ())
        return readers[0] if len(readers) == 1 and tensor != self._model.output_name else None
