"""Networks of a family with their accuracies, whoever knows these: a table, a package, a teacher, or training."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_src.families import label_packages
from model_src.kept import KeptJob
from model_src.labels.measured import table_of
from model_src.labels.table import TEACHER, TRAIN, read_label_table
from model_src.search_space.sampling import Drawn, distinct_networks, package_labels, space_of
from model_src.training.labels import Measurement, measured


@dataclass(frozen=True)
class LabelSource:
    """Where accuracies come from; without a table and a name there are none.

    Attributes:
        table: CSV file of accuracies.
        name: A PyPI package, `teacher` (estimates) or `train` (measurements).
        teacher: Checkpoint of the PSC predictor that estimates, its encoder and its tokenizer.
        measurement: How networks are trained.
        trainings: Table of the trainings; None is the family's own.
    """

    table: Path | None
    name: str | None
    teacher: tuple[Path, Path, Path]
    measurement: Measurement
    trainings: Path | None


def labelled_networks(
    family: str, num: int | None, seed: int, traced: bool, source: LabelSource, job: KeptJob
) -> Iterator[Drawn]:
    """Draw networks of a family (see `distinct_networks`) and give them their accuracies.

    Args:
        family: Its name.
        num: How many; None means all.
        seed: Of the draw.
        traced: Networks in the form that a trace gives.
        source: Who knows accuracies.
        job: Where what takes long is kept.

    Raises:
        InputError: See `read_label_table`, `package_labels`, `space_of`, `distinct_networks`, `estimated`, `measured`.
    """
    labels = read_label_table(source.table) if source.table else None
    if source.name in label_packages():
        labels = package_labels(family, source.name)
    networks = distinct_networks(space_of(family, traced), np.random.default_rng(seed), num, labels, job.of("hashes"))
    if source.name == TEACHER:
        from model_src.predictor.teacher import estimated

        return estimated(networks, family, *source.teacher, job.of("estimates"))
    if source.name == TRAIN:
        return measured(networks, source.measurement, source.trainings or table_of(family))
    return networks
