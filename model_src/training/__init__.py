"""Training found networks on images."""
