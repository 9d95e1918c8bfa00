import numpy as np
import pytest

from model_src.search_space import two_path
from tests.search_space.rebuild import content, figures, ops, reference_networks


def path(text):
    """`a+b; c` -> two blocks of operations."""
    blocks = [block.strip().split("+") for block in text.split(";")]
    types = [["supp" if op in two_path.SUPP_OPS else "conv" for op in block] for block in blocks]
    return [{"op_names": names, "op_types": kinds} for names, kinds in zip(blocks, types, strict=True)]


def config_of(path1, path2, reduce1=(0, 1), reduce2=(0, 1)):
    return {
        "path1": path(path1),
        "path2": path(path2),
        "path1_reduce_inds": list(reduce1),
        "path2_reduce_inds": list(reduce2),
    }


T3 = config_of(
    "bottleneck-e2-k3; maxpool3x3+bottleneck-r4-k3",
    "double3x3+bottleneck-e2-k3; maxpool3x3+conv3x3+bottleneck-e2-k3",
)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            config_of(
                "bottleneck-e2-k1+bottleneck-r2-k3; conv3x3",
                "bottleneck-r4-k3; bottleneck-r4-k3+bottleneck-r4-k3",
            ),
            (38, 38, 1_394_784, 27_300_864),
        ),
        (
            config_of(
                "double3x3; inception_s3x3",
                "inception_s3x3; bottleneck-r2-k1+inception_s3x3; bottleneck-e2-k3",
            ),
            (48, 49, 1_982_304, 37_131_264),
        ),
        (T3, (44, 44, 2_116_448, 47_928_320)),
        (
            config_of(
                "conv3x3+bottleneck-e2-k1+inception_s5x5; double3x3",
                "inception_s3x3+inception_s3x3+conv5x5; conv3x3+double3x3; conv5x5+conv5x5; "
                "double3x3+bottleneck-r2-k3+bottleneck-r2-k3",
                reduce2=(0, 2),
            ),
            (80, 82, 2_841_440, 64_394_240),
        ),
    ],
)
def test_figures_of_known_configurations(config, expected):
    assert figures(two_path.build(config, "net")) == expected


def test_operations_of_a_network():
    counts = ops(two_path.build(T3, "net"))
    assert (counts["conv2d"], counts["fusedbatchnormv3"], counts["maxpool"], counts["identity"]) == (14, 16, 2, 1)


def test_every_reference_network_is_rebuilt(reference):
    for config, expected in reference_networks(reference, "two_path"):
        assert content(two_path.build(config, "net")) == content(expected), config


def test_samples_can_be_built():
    for seed in range(100):
        config = two_path.sample(np.random.default_rng(seed))
        assert config == two_path.sample(np.random.default_rng(seed))
        for name in two_path.PATHS:
            assert 2 <= len(config[name]) <= 4
            first, second = config[f"{name}_reduce_inds"]
            assert 0 <= first < second < len(config[name])
            for block in config[name]:
                assert block == path("+".join(block["op_names"]))[0]
        two_path.build(config, "net")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path1": path("conv9x9; conv3x3")}, "no part or operation 'conv9x9'"),
        ({"path2_reduce_inds": [0]}, "the paths end in different shapes"),
    ],
)
def test_other_configs_are_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        two_path.build({**T3, **change}, "net")


def test_a_missing_path_is_named():
    with pytest.raises(ValueError, match=r"net: .*'path2'"):
        two_path.build({key: value for key, value in T3.items() if key != "path2"}, "net")
