import numpy as np
import pytest

from model_src.search_space import inception
from tests.search_space.rebuild import content, figures, ops, reference_networks


def path(text, internal, c_out):
    names = text.split("+")
    types = ["supp" if op in inception.SUPP_OPS else "conv" for op in names]
    return {"ops": names, "op_types": types, "C_internal": internal, "C_out": c_out}


def config_of(*stages):
    """Per stage the number of blocks and the paths of a block."""
    return {
        "stages": [
            {"n_blocks": n, "block": {"paths": paths}, "C_in": c_in, "C_out": c_out, "stride": stride}
            for (n, *paths), (c_in, c_out, stride) in zip(stages, inception.STAGES, strict=True)
        ]
    }


I1 = config_of(
    (6, path("depthwise3x3+inception_p3x3+depthwise5x5", 16, 32)),
    (5, path("inception_s5x5+inception_p3x3+inception_s5x5", 32, 32), path("inception_s5x5", 32, 32)),
    (2, path("inception_p3x3", 128, 128)),
    (3, path("depthwise3x3+depthwise5x5", 128, 256)),
)
I2 = config_of(
    (2, path("inception_s5x5", 32, 32)),
    (3, path("depthwise3x3", 32, 32), path("depthwise5x5", 32, 32)),
    (2, path("conv1x1+depthwise5x5", 128, 128)),
    (6, path("depthwise5x5+inception_p5x5", 128, 128), path("inception_s3x3+conv1x1", 128, 128)),
)
I3 = config_of(
    (3, path("maxpool3x3+depthwise5x5", 32, 32)),
    (5, path("inception_p5x5+depthwise3x3", 32, 32), path("inception_s3x3", 32, 32)),
    (5, path("inception_s3x3", 64, 64), path("double1x1+conv3x3+depthwise3x3", 32, 64)),
    (4, path("inception_s3x3+conv3x3+conv1x1", 64, 128), path("conv3x3", 128, 128)),
)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (I1, (272, 302, 1_696_768, 103_783_424)),
        (I2, (189, 213, 2_856_992, 73_745_408)),
        (I3, (288, 320, 2_969_504, 89_162_752)),
    ],
)
def test_figures_of_known_configurations(config, expected):
    assert figures(inception.build(config, "net")) == expected


def test_operations_of_a_network():
    counts = ops(inception.build(I1, "net"))
    expected = {"conv2d": 77, "depthwise": 18, "fusedbatchnormv3": 78, "add": 13, "concat": 18, "identity": 1}
    assert {op: counts[op] for op in expected} == expected


def test_every_reference_network_is_rebuilt(reference):
    for config, expected in reference_networks(reference, "inception"):
        assert content(inception.build(config, "net")) == content(expected), config


def test_samples_can_be_built():
    for seed in range(60):
        config = inception.sample(np.random.default_rng(seed))
        assert config == inception.sample(np.random.default_rng(seed))
        inception.build(config, "net")
        for stage in config["stages"]:
            paths = stage["block"]["paths"]
            least, most = {1: (1, 3), 2: (1, 4), 3: (2, 8), 4: (2, 10)}[len(paths)]
            assert 2 <= stage["n_blocks"] <= 6
            assert sum(len(entry["ops"]) for entry in paths) <= most
            assert all(len(entry["ops"]) >= least for entry in paths)
            assert all(entry["C_internal"] >= 16 and entry["op_types"].count("supp") <= 1 for entry in paths)
            if stage["C_out"] >= 64:
                assert sum(entry["C_out"] for entry in paths) == stage["C_out"]


def test_an_unknown_operation_is_named():
    config = config_of(*[(1, path("conv9x9", 32, 32))] * 4)
    with pytest.raises(ValueError, match=r"net: .*'conv9x9'"):
        inception.build(config, "net")
