"""The files of networks cut into splits: their names, and reading them."""

from pathlib import Path

from model_src.encoder.paths import VocabularyName
from model_src.families import abbreviation
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


def load_splits(path: Path, family: str, vocabulary: VocabularyName) -> PscCache:
    """Read the splits of a family.

    Raises:
        InputError: The file is missing (the text says what makes it), damaged or of another kind.
    """
    with made_by(f"python run_psc_segment.py -data_family {family} {vocabulary.flags}", path):
        return load_cache(path)


def load_selected(folder: Path, num_samples: dict[str, str], vocabulary: VocabularyName) -> list[PscCache]:
    """Read the selected splits of families.

    Args:
        folder: Where the files are.
        num_samples: Family -> number of samples, as `settings.sample_count` writes it.
        vocabulary: What the networks are cut with.

    Raises:
        InputError: A file is missing (the text says what makes it), damaged or of another kind.
    """
    caches = []
    for family, samples in num_samples.items():
        path = cache_path(folder, family, vocabulary, samples)
        command = f"python make_segment_predictor_cache_sa.py -data_family {family} {vocabulary.flags}"
        with made_by(f"{command} -num_samples {samples}", path):
            caches.append(load_cache(path))
    return caches
