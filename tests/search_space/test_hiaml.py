import numpy as np
import pytest

from model_src.search_space import hiaml
from tests.search_space.rebuild import content, figures, ops, reference_networks


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("hiaml_a22", (87, 94, 1_888_448, 83_282_432)),
        ("hiaml_z", (95, 102, 2_707_648, 116_836_864)),
        ("hiaml_b23", (123, 130, 2_379_968, 99_011_072)),
        ("hiaml_j30", (99, 106, 2_748_608, 117_885_440)),
        ("hiaml_g30", (147, 162, 2_584_768, 107_399_680)),
        ("hiaml_r30", (159, 182, 2_625_728, 108_448_256)),
        ("hiaml_l20", (55, 54, 1_683_648, 74_893_824)),
        ("hiaml_t20", (87, 94, 1_274_048, 54_970_880)),
        ("hiaml_t31", (167, 190, 2_625_728, 108_448_256)),
        ("hiaml_src0", (87, 94, 3_854_528, 158_779_904)),
        ("hiaml_src1", (87, 94, 2_932_928, 149_342_720)),
        ("hiaml_src3", (103, 110, 1_990_848, 90_622_464)),
        ("hiaml_src7", (135, 142, 2_625_728, 108_448_256)),
        ("hiaml_src8", (103, 110, 1_601_728, 66_505_216)),
    ],
)
def test_figures_of_known_configurations(block, expected):
    assert figures(hiaml.build([block] * 4, "net")) == expected


def test_operations_of_a_network():
    counts = ops(hiaml.build(["hiaml_r30"] * 4, "net"))
    assert (counts["conv2d"], counts["fusedbatchnormv3"], counts["relu"], counts["add"]) == (45, 45, 9, 24)
    assert counts["identity"] == 0


def test_every_reference_network_is_rebuilt(reference):
    for config, expected in reference_networks(reference, "hiaml"):
        assert content(hiaml.build(config, "net")) == content(expected), config


def test_samples():
    draws = [hiaml.sample(np.random.default_rng(seed)) for seed in range(100)]
    assert draws == [hiaml.sample(np.random.default_rng(seed)) for seed in range(100)]
    assert {len(config) for config in draws} == {4}
    assert {block for config in draws for block in config} == set(hiaml.BLOCKS)


@pytest.mark.parametrize("config", [["hiaml_z"] * 3, ["hiaml_z"] * 3 + ["hiaml_y"]])
def test_other_configs_are_refused(config):
    with pytest.raises(ValueError, match="a HiAML network is 4 names"):
        hiaml.build(config, "net")
