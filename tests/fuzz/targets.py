"""All loaders, by name."""

from tests.fuzz import foreign, network_files, predictor_files, search_files
from tests.fuzz.target import Target


def targets() -> dict[str, Target]:
    rooms = (network_files, predictor_files, search_files, foreign)
    return {name: target for room in rooms for name, target in room.targets().items()}
