"""How many pixels the operation of a node leaves."""

from dataclasses import replace

import pytest

from model_src.comp_graph.ops import OPERATIONS
from model_src.comp_graph.sizes import UNPADDED, crops_of, same_padding, window_of, window_output
from model_src.comp_graph.tf_comp_graph import RegularNode
from tests.conftest import conv, regular


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "expected"),
    [(7, 3, 2, "same", 1, 4), (32, 3, 1, "same", 1, 32), (224, 7, 2, "valid", 1, 109), (15, 3, 1, "valid", 2, 11)],
)
def test_window_output(size, kernel, stride, padding, dilation, expected):
    assert window_output(size, kernel, stride, padding, dilation) == expected


def test_same_padding_by_hand():
    assert [same_padding(*axis) for axis in ((7, 3, 2), (8, 3, 2), (5, 2, 2), (4, 1, 3), (8, 3, 1, 2))] == [
        (1, 1),
        (0, 1),
        (0, 1),
        (0, 0),
        (2, 2),
    ]


def test_windows_of_kernels_pools_and_dilations():
    metadata = {"padding": "valid", "ksize": (1, 3, 5, 1)}
    pool = regular("p", "maxpool", 12, 8, 3, 4, strides=(1, 2, 1, 1), metadata=metadata)
    assert window_of(pool) == ((3, 5), (2, 1), (1, 1), False, UNPADDED)
    assert window_of(pool).output_size(8, 9) == (3, 5)
    assert window_of(conv("c", 8, 3, 4, dil_rate=2)) == ((3, 3), (1, 1), (2, 2), True, UNPADDED)
    assert window_of(conv("c", 8, 3, 4, dilations=(1, 2, 3, 1))).dilation == (2, 3)


@pytest.mark.parametrize(("label", "op", "fields"), [
    ("maxpool", 12, {}), ("avgpool", 13, {"metadata": {"ksize": (1, 0, 0, 1)}}),
])  # fmt: skip
def test_a_pool_without_a_window_is_refused(label, op, fields):
    with pytest.raises(ValueError, match=rf"node p \({label}\): its kernel .* is not two positive whole numbers"):
        window_of(regular("p", label, op, 8, 3, **fields))


def test_fractional_strides_are_refused():
    node = regular("p", "maxpool", 12, 8, 3, strides=(1, 1.5, 1.5, 1), metadata={"ksize": (1, 2, 2, 1)})
    with pytest.raises(ValueError, match="its stride"):
        window_of(node)


def test_the_other_rules_of_size():
    def size(node, h, w):
        return node.operation.size(node, h, w)

    assert size(regular("r", "relu", 6, 8, 3), 5, 7) == (5, 7)
    assert size(regular("m", "mean", 19, 8, 3), 5, 7) == size(regular("g", "global", 24, 8, 3), 5, 7) == (1, 1)
    padded = regular("p", "paddings", 18, 8, 3, metadata={"pad_h": (1, 2), "pad_w": (0, 4)})
    assert size(padded, 5, 7) == (8, 11)
    assert size(replace(padded, metadata=None), 5, 7) == (5, 7)


def test_what_an_operation_makes_of_another_size_may_not_be_known():
    node = RegularNode("d", "batchtospacend", 21, (4, 8, 6, 12, 16, 4))
    assert OPERATIONS["batchtospacend"].size(node, 4, 6) == (8, 12)
    with pytest.raises(
        ValueError, match=r"node d \(batchtospacend\): it is recorded for a 4x6 map and gets one of 6x4"
    ):
        node.operation.size(node, 6, 4)
    with pytest.raises(ValueError, match="gets one of 4x7"):
        node.operation.size(node, 4, 7)


def test_maps_that_become_larger_follow_their_input():
    def size(node, h, w):
        return node.operation.size(node, h, w)

    split = RegularNode("d", "depthtospacend", 23, (4, 8, 6, 12, 16, 4))
    joined = RegularNode("s", "spacetodepthnd", 22, (8, 4, 12, 6, 4, 16))
    assert (size(split, 6, 5), size(joined, 6, 10)) == ((12, 10), (3, 5))
    with pytest.raises(ValueError, match=r"node s .*: a 6x9 map is not made of whole blocks"):
        size(joined, 6, 9)
    resize = regular("r", "resize", 25, 8, 3, metadata={"factor_h": (2, 1), "factor_w": (3, 2)})
    assert size(resize, 5, 7) == (10, 10)
    for factors in ({}, {"factor_h": (2, 0), "factor_w": (1, 1)}, {"factor_h": 2, "factor_w": (1, 1)}):
        with pytest.raises(ValueError, match="node r"):
            size(replace(resize, metadata=factors), 5, 7)
    published = replace(conv("t", 4, 3, 5, kernel=3, stride=2), label="conv2d_transpose", resolution=(4, 8, 4, 8, 3, 5))
    assert crops_of(published) == ((0, 1), (0, 1))  # TensorFlow's SAME
    assert size(published, 5, 4) == (10, 8)
    ours = replace(published, metadata={"crop_h": (1, 0), "crop_w": (2, 2)})
    assert size(ours, 4, 8) == (8, 13)


@pytest.mark.parametrize("pads", [{}, {"pads_h": (1, 1), "pads_w": (0, 2)}])
def test_windows_with_a_padding_of_their_own(pads):
    metadata = {"padding": "explicit", "ksize": (1, 3, 3, 1), **pads}
    window = window_of(regular("p", "avgpool", 13, 8, 3, 4, strides=(1, 2, 2, 1), metadata=metadata))
    assert window.output_size(7, 8) == ((4, 4) if pads else (3, 3))
    with pytest.raises(ValueError, match=r"its pads_h \(1, -1\) is not two whole numbers from 0 on"):
        window_of(regular("p", "avgpool", 13, 8, 3, 4, metadata={**metadata, "pads_h": (1, -1)}))
