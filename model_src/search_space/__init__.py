"""The network families, built directly as computation graphs: one module each, named by its row in `families.py`.

A family's module has

    sample(rng) -> config                 draws a config, which is plain JSON data
    build(config, name) -> ComputeGraph

and, where it differs from most,

    draw(rng) -> iterator of configs      every network once, in random order; such a family can be listed
    network_name(config) -> str           says what the network is; without it, networks are numbered
    label_key(config) -> str              what others call the network in their tables of accuracies,
    is_label_key(text) -> bool            and whether a text is such a name
    build_traced(config, name)            the form that a trace of the network gives
    read_package_labels()                 label key -> accuracy (a fraction), out of the package that the row names
"""
