"""The part of a large family that stands for it: a published list of names, or without it a random sample."""

import heapq
import logging
from collections.abc import Iterable
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path

from tqdm import tqdm

from model_src.families import find
from model_src.family_data.caches import LabelledGraph, iter_list_cache
from model_src.files import InputError, load_pickle

logger = logging.getLogger(__name__)


def read_names(path: str | Path) -> frozenset[str]:
    """Read a pickled list of network names, such as the published NB-101 subset.

    Raises:
        InputError: The file is missing, damaged or holds something else.
    """
    names = load_pickle(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: not a list of network names")
    return frozenset(names)


def pick_subset(family: str, data_dir: str | Path, num: int, seed: int) -> list[LabelledGraph]:
    """Pick the networks of a family that is part of a larger one out of the cache of that one, in its order.

    Args:
        family: Name of the family.
        data_dir: Folder of the larger one's cache and of the list of names.
        num: Networks to sample where there is no list of names.
        seed: Of the sample.

    Raises:
        InputError: The family is no such part, a file is missing or damaged, or the cache has none of the listed
            networks or fewer than `num`.
    """
    subset = find(family).subset
    if subset is None:
        raise InputError(f"family {family} is no part of a larger one")
    full, listed = Path(data_dir) / subset.cache, Path(data_dir) / subset.names
    networks = tqdm(iter_list_cache(full), unit="network")
    if listed.exists():
        names = read_names(listed)
        picked = [network for network in networks if network.graph.name in names]
        if not picked:
            raise InputError(f"{full}: has none of the {len(names)} networks of {listed.name}")
        logger.info("%d of the %d networks of %s were found", len(picked), len(names), listed)
    else:
        logger.info("%s: no such list, so %d networks are sampled with seed %d", listed, num, seed)
        picked = _sample(networks, num, seed)
        if len(picked) < num:
            raise InputError(f"-num {num}: {full} has only {len(picked)} networks")
    return picked


def _sample(networks: Iterable[LabelledGraph], num: int, seed: int) -> list[LabelledGraph]:
    """Draw networks by a hash of their names, so that few are in memory at a time; all, if there are fewer."""

    def rank(item: tuple[int, LabelledGraph]) -> bytes:
        return blake2b(f"{seed}:{item[1].graph.name}".encode()).digest()

    chosen = heapq.nsmallest(num, enumerate(networks), key=rank)
    return [network for _, network in sorted(chosen, key=itemgetter(0))]
