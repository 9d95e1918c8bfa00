"""A network that is not tiny."""

import pytest

import constants
from model_src.comp_graph.load import load_cg


@pytest.fixture(scope="session")
def source():
    return load_cg(constants.ROOT / "architectures" / "hiaml_best.pkl")
