"""What a network does behind the part of it that is searched, as an ONNX model that travels beside the part's graph."""

from pathlib import Path
from typing import TYPE_CHECKING

from model_src.files import atomic_write, beside, naming, regular_file

if TYPE_CHECKING:
    import onnx
    from torch import nn

SUFFIX = ".rest.onnx"


class Rest:
    """What comes behind a tensor of a network; its results are the network's.

    Args:
        model: It reads that tensor first, as a network of the part's graph gives it: (N, C) where it has one pixel,
            otherwise (N, C, H, W).
    """

    def __init__(self, model: "onnx.ModelProto | None" = None):
        self._model = model

    @property
    def model(self) -> "onnx.ModelProto":
        """The ONNX model.

        Raises:
            ValueError: It cannot be written in ONNX.
        """
        if self._model is None:
            self._model = self._to_onnx()
        return self._model

    def _to_onnx(self) -> "onnx.ModelProto":
        raise NotImplementedError

    def behind(self, network: "nn.Module") -> "nn.Module":
        """The whole network in PyTorch, with another network for the part in front of the tensor.

        Raises:
            ValueError: It did not come from PyTorch.
        """
        raise ValueError("the rest of the network is no PyTorch module; export to ONNX has it")

    def save(self, path: str | Path) -> Path:
        """Write it beside a graph's file; returns its path.

        Raises:
            ValueError: See `model`.
        """
        content = self.model.SerializeToString()
        path = Path(path).with_suffix(SUFFIX)
        with atomic_write(path) as file:
            file.write(content)
        return path


def load_rest(path: str | Path) -> Rest | None:
    """The rest beside a graph's file; None where there is none.

    Raises:
        InputError: The file is damaged, or would become much larger in memory.
    """
    path = regular_file(beside(Path(path), SUFFIX))
    if not path.exists():
        return None
    import onnx
    from google.protobuf.message import DecodeError

    from model_src.comp_graph.importers.onnx.limits import read_model

    with naming(path):
        try:
            model = read_model(path)
            onnx.checker.check_model(model)
        except (DecodeError, onnx.checker.ValidationError) as error:
            raise ValueError(error) from error
    return Rest(model)
