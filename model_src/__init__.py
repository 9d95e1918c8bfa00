"""AutoGO: automated computation graph optimization for neural network evolution."""

__version__ = "0.2.0"
