"""The computation graph and what it can become."""
