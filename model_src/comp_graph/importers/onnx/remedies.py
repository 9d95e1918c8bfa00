"""What a user can do about operations that no graph can hold, by their type in ONNX."""

_BRANCHES = "whether and how often it runs is decided by the image; take the decision out of the network's code"
_QUANTISED = "it belongs to a quantised network; bring the network as it was before quantisation"
_RECURRENT = "it is recurrent; only networks that run every operation once can be held"
_DETECTIONS = "how much it gives depends on the image; -output_node takes the part of the network in front of it"

REMEDIES = {
    **dict.fromkeys(("If", "Loop", "Scan"), _BRANCHES),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _RECURRENT),
    **dict.fromkeys(("NonMaxSuppression", "NonZero", "Unique"), _DETECTIONS),
    **dict.fromkeys(
        ("ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"),
        _QUANTISED,
    ),
}
