"""Operations that ONNX has under one name and computes number by number: what importer and exporter agree on."""

# Name of the operation -> its type in ONNX, where every attribute has its default.
POINTWISE = {
    "gelu": "Gelu",
    "hardswish": "HardSwish",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}
