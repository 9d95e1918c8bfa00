"""What importer and exporter of ONNX agree on: the version, and operations that compute number by number."""

OPSET = 20  # the version of its operations in which graphs are written: the first with Gelu

# Name of the operation -> its type in ONNX, where every attribute has its default.
POINTWISE = {
    "gelu": "Gelu",
    "hardswish": "HardSwish",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}
