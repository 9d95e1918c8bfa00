"""The files of networks cut into splits: their names, writing and reading them.

Those of a family in shards are a folder of such files, one for each shard, with an index.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from model_src.encoder.paths import VocabularyName
from model_src.families import abbreviation
from model_src.family_data.shards import INDEX, folder_for, shard_paths, shards_of, write_folder
from model_src.predictor.data.psc_cache import PscCache, load_cache
from model_src.runtime import made_by


def cache_path(folder: Path, family: str, vocabulary: VocabularyName, num_samples: str | None = None) -> Path:
    """The file of a family's splits, or with `num_samples` of the records selected from it.

    Args:
        folder: Where it is.
        family: Name of the family that the networks are of.
        vocabulary: What they are cut with.
        num_samples: As `settings.sample_count` writes it.
    """
    suffix = "" if num_samples is None else f"_s_ns{num_samples}"
    encoders, kind = abbreviation(vocabulary.families), f"{vocabulary.encoding}_{vocabulary.size}"
    return folder / f"gpi_comp_graph_cache_E-{encoders}_D-{abbreviation(family)}_{kind}{suffix}.pkl"


def is_in_parts(path: Path) -> bool:
    """Whether splits are in a folder, which is given itself or stands for the file."""
    return path.is_dir() or (not path.exists() and shards_of(path).is_dir())


def place_for_splits(path: Path, in_parts: bool) -> tuple[Path, Path]:
    """Where splits are written, the file or the folder that stands for it, and what of it is written last.

    Raises:
        InputError: A folder is wanted, but the file is there and would be read instead.
    """
    if not in_parts:
        return path, path
    folder = folder_for(path)
    return folder, folder / INDEX


def save_splits(place: Path, in_parts: bool, caches: Iterable[PscCache]) -> None:
    """Write splits: each cache into a file of a folder, or the one that there is into a file."""
    if in_parts:
        write_folder(place, ".pkl", caches, _save)
        return
    (cache,) = caches
    cache.save(place)


def _save(path: Path, cache: PscCache) -> int:
    cache.save(path)
    return len(cache.networks)


def iter_parts(path: Path) -> Iterator[PscCache]:
    """Read splits: one cache, or those of a folder one by one.

    Raises:
        InputError: The file is missing, damaged or of another kind.
    """
    folder = path if path.is_dir() else shards_of(path)
    return map(load_cache, shard_paths(folder) if is_in_parts(path) else [path])


def iter_splits(path: Path, family: str, vocabulary: VocabularyName) -> Iterator[PscCache]:
    """Read the splits of a family, see `iter_parts`.

    Raises:
        InputError: The file is missing (the text says what makes it), damaged or of another kind.
    """
    with made_by(f"python run_psc_segment.py -data_family {family} {vocabulary.flags}", path):
        yield from iter_parts(path)


def selected_paths(folder: Path, num_samples: Mapping[str, str], vocabulary: VocabularyName) -> dict[str, Path]:
    """Family -> the file of its selected splits.

    Args:
        folder: Where the files are.
        num_samples: Family -> number of samples, as `settings.sample_count` writes it.
        vocabulary: What the networks are cut with.
    """
    return {family: cache_path(folder, family, vocabulary, samples) for family, samples in num_samples.items()}


def iter_selected(folder: Path, num_samples: Mapping[str, str], vocabulary: VocabularyName) -> Iterator[PscCache]:
    """Read the selected splits of families, one by one; see `selected_paths` and `iter_parts`.

    Raises:
        InputError: A file is missing (the text says what makes it), damaged or of another kind.
    """
    for family, path in selected_paths(folder, num_samples, vocabulary).items():
        command = f"python make_segment_predictor_cache_sa.py -data_family {family} {vocabulary.flags}"
        with made_by(f"{command} -num_samples {num_samples[family]}", path):
            yield from iter_parts(path)
