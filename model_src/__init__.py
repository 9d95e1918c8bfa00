"""AutoGO: automated computation graph optimization for neural network evolution."""
