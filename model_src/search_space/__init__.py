"""The five CIFAR-10 network families, built directly as computation graphs.

Each module has `sample(rng) -> config` and `build(config, name) -> ComputeGraph`; a config is plain JSON data.
"""
