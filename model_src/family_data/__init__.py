"""The labelled networks of families: cache files, reading them by family, subsets, splits.

Units: accuracies are fractions, FLOPs are millions.
"""

from model_src.family_data.caches import LabelledGraph, iter_list_cache, save_family, save_list_cache, save_state_cache
from model_src.family_data.reading import (
    cache_files,
    cache_for,
    family_path,
    iter_family,
    iter_graphs,
    iter_measured,
    iter_ranked,
    load_family,
    load_measured,
    sharded,
)
from model_src.family_data.split import split_names
from model_src.family_data.subset import pick_subset, read_names

__all__ = [
    "LabelledGraph",
    "cache_files",
    "cache_for",
    "family_path",
    "iter_family",
    "iter_graphs",
    "iter_list_cache",
    "iter_measured",
    "iter_ranked",
    "load_family",
    "load_measured",
    "pick_subset",
    "read_names",
    "save_family",
    "save_list_cache",
    "save_state_cache",
    "sharded",
    "split_names",
]
