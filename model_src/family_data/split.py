"""Splits of networks into those to train on, to choose by and to test on."""

import math
from collections.abc import Iterable
from hashlib import blake2b

from model_src.files import InputError

_SMALLEST_RATIO = 1e-5


def split_names(names: Iterable[str], dev_ratio: float, test_ratio: float, seed: int) -> dict[str, list[str]]:
    """Divide network names into `train`, `dev` and `test`, each sorted.

    Names are ranked by a hash of the seed and the name, so the split depends neither on the order of the names nor on
    any other random draw, and everybody who splits the same names gets the same split. `dev` and `test` get the
    ratio of the names, rounded down but at least one; with a ratio below 1e-5 that part stays in `train` as well.

    Raises:
        InputError: So few names that none is left to train on.
    """
    ranked = sorted(set(names), key=lambda name: blake2b(f"{seed}:{name}".encode()).digest())
    n_dev = max(math.floor(dev_ratio * len(ranked)), 1)
    n_test = max(math.floor(test_ratio * len(ranked)), 1)
    dev, test, train = ranked[:n_dev], ranked[n_dev : n_dev + n_test], ranked[n_dev + n_test :]
    train += [*(dev if dev_ratio < _SMALLEST_RATIO else ()), *(test if test_ratio < _SMALLEST_RATIO else ())]
    if not train or not test:
        raise InputError(
            f"{len(ranked)} networks cannot be divided into {dev_ratio:g} for dev, {test_ratio:g} for test and the rest"
        )
    return {"train": sorted(train), "dev": sorted(dev), "test": sorted(test)}
