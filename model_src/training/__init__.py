"""Training found networks on CIFAR-10."""
