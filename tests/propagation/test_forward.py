"""Virtual forward propagation: a table of small cases, the corrected defects, and the reference cases."""

from dataclasses import replace

import pytest

from model_src.propagation.forward import PropagationError, forward_propagate, integer_strides
from tests.propagation.cases import by_id, make_node, make_segment


def propagate(segment, *shapes):
    return by_id(forward_propagate(segment, shapes))


def test_a_source_passes_its_channels_on():
    segment = make_segment([make_node("c", "conv2d", 8, 64, 128), make_node("r", "relu", 8, 128)], ["c r"])
    nodes = propagate(segment, (16, 16, 32))
    assert nodes["c"].resolution == (16, 16, 16, 16, 32, 32)
    assert nodes["r"].resolution == (16, 16, 16, 16, 32, 32)


def test_a_source_passes_its_channels_on_even_if_it_reads_what_it_was_made_for():
    segment = make_segment([make_node("c", "conv2d", 8, 64, 128, w=6), make_node("r", "relu", 8, 128, w=6)], ["c r"])
    nodes = propagate(segment, (8, 6, 64))
    assert nodes["c"].resolution == (8, 8, 6, 6, 64, 64)
    assert nodes["c"].shape == (64, 64, 3, 3)
    assert nodes["r"].resolution == (8, 8, 6, 6, 64, 64)


def test_an_inner_node_whose_input_matches_stays_as_it_is():
    segment = make_segment([make_node("a", "conv2d", 8, 64), make_node("b", "conv2d", 8, 64, 128)], ["a b"])
    assert forward_propagate(segment, [(8, 8, 64)]) is segment.graph


def test_stride_2_from_7_pixels_leaves_4():
    nodes = propagate(make_segment([make_node("c", "conv2d", 16, 64, stride=2)]), (7, 7, 64))
    assert nodes["c"].resolution == (7, 4, 7, 4, 64, 64)


def test_strides_along_one_axis():
    nodes = [make_node("r", "relu", 8, 16, w=6), make_node("c", "conv2d", 8, 16, 16, w=6)]
    nodes[1] = replace(nodes[1], resolution=(8, 4, 6, 6, 16, 16), strides=(1, 2, 1, 1))
    assert propagate(make_segment(nodes, ["r c"]), (10, 7, 16))["c"].resolution == (10, 5, 7, 7, 16, 16)


@pytest.mark.parametrize("op", ["avgpool", "maxpool", "depthwise"])
def test_windows_shrink_the_map_and_keep_the_channels(op):
    nodes = propagate(make_segment([make_node("p", op, 16, 64, stride=2)]), (9, 5, 32))
    assert nodes["p"].resolution == (9, 5, 5, 3, 32, 32)


def test_mean_and_matmul_have_fixed_outputs():
    segment = make_segment([make_node("m", "mean", 8, 64), make_node("d", "matmul", 1, 64)], ["m d"])
    nodes = propagate(segment, (4, 4, 32))
    assert nodes["m"].resolution == (4, 1, 4, 1, 32, 32)
    assert nodes["d"].resolution == (1, 1, 1, 1, 32, 10)


def test_kernels_follow_the_channels_and_other_nodes_are_shared():
    nodes = [
        make_node("a", "conv2d", 8, 16, 16),
        make_node("d", "depthwise", 8, 16),
        make_node("b", "conv2d", 8, 64, 128),
        make_node("r", "relu", 8, 64),
    ]
    segment = make_segment(nodes, ["a d", "r b"], inputs=["a", "r"])
    changed = propagate(segment, (8, 8, 32), (8, 8, 64))
    assert changed["a"].shape == (32, 32, 3, 3)
    assert changed["d"].shape == (32, 1, 3, 3)
    assert changed["d"].metadata == {"padding": "same"}
    assert changed["b"] is nodes[2]
    assert changed["r"] is nodes[3]
    assert forward_propagate(segment, [(8, 8, 32), (8, 8, 64)]).input_shape == ((1, 8, 8, 32), (1, 8, 8, 64))


def test_a_merge_may_read_from_inside_and_outside():
    segment = make_segment(
        [make_node("c", "conv2d", 8, 16), make_node("a", "add", 8, 16)], ["c a"], inputs=["c a"], outputs=["a"]
    )
    assert propagate(segment, (4, 4, 32))["a"].resolution == (4, 4, 4, 4, 32, 32)


def concat_segment():
    """A concat of a convolution, of an input that the convolution reads too, and of another input."""
    nodes = [make_node("c", "conv2d", 8, 16), make_node("k", "concat", 8, 16, 40), make_node("r", "relu", 8, 40)]
    shapes = [(8, 8, 16), (8, 8, 8)]
    return make_segment(nodes, ["c k", "k r"], inputs=["c k", "k"], input_shapes=shapes)


def test_a_concat_sums_the_channels_of_all_its_inputs():
    segment = concat_segment()
    assert forward_propagate(segment, segment.input_shapes) is segment.graph
    nodes = propagate(segment, (4, 6, 8), (4, 6, 64))
    assert nodes["k"].resolution == (4, 4, 6, 6, 8, 80)
    assert nodes["r"].resolution == (4, 4, 6, 6, 80, 80)


def test_a_concat_of_outside_tensors_only():
    segment = make_segment([make_node("k", "concat", 8, 16, 32)], inputs=["k", "k"])
    assert propagate(segment, (4, 4, 24), (4, 4, 8))["k"].resolution == (4, 4, 4, 4, 24, 32)
    # Which operand is the first one is not known; one that is as it was recorded counts.
    assert propagate(segment, (4, 4, 24), (4, 4, 16))["k"].resolution == (4, 4, 4, 4, 16, 40)


def test_channels_alone_change_a_concat_too():
    nodes = [make_node("a", "relu", 8, 16), make_node("b", "relu", 8, 16), make_node("k", "concat", 8, 16, 32)]
    segment = make_segment(nodes, ["a k", "b k"])
    assert propagate(segment, (8, 8, 16), (8, 8, 64))["k"].resolution == (8, 8, 8, 8, 16, 80)


def sum_of_two():
    nodes = [make_node("x", "relu", 8, 32), make_node("y", "relu", 8, 32), make_node("a", "add", 8, 32)]
    return make_segment(nodes, ["x a", "y a"])


@pytest.mark.parametrize(
    ("segment", "shapes", "reason"),
    [
        (sum_of_two(), [(8, 8, 32), (8, 8, 16)], "inputs differ"),
        (concat_segment(), [(8, 8, 16), (4, 4, 8)], "different sizes"),
        (concat_segment(), [(8, 8, 16), (8, 4, 8)], "different sizes"),
        (concat_segment(), [(8, 8, 16), (4, 8, 8)], "different sizes"),
        (make_segment([make_node("k", "concat", 8, 16, 32)], inputs=["k", "k"]), [(8, 8, 16), (4, 4, 16)], "different"),
        (make_segment([make_node("c", "conv2d", 8, 32, padding="valid")]), [(8, 8, 32)], "padding is valid"),
        (make_segment([make_node("p", "avgpool", 8, 32, padding="valid")]), [(8, 8, 32)], "padding is valid"),
        (make_segment([make_node("c", "conv2d", 8, 32)]), [(8, 0, 32)], "positive integers"),
        (make_segment([make_node("c", "conv2d", 8, 32)]), [(8, 7.5, 32)], "positive integers"),
        (make_segment([make_node("c", "conv2d", 24, 32, stride=1.5)]), [(12, 12, 32)], "strides"),
        (sum_of_two(), [(8, 8, 32)], "1 shapes for 2 input tensors"),
        (make_segment([make_node("k", "concat", 8, 32)], inputs=[]), [], "no input"),
    ],
)
def test_a_segment_that_cannot_take_the_sizes(segment, shapes, reason):
    with pytest.raises(PropagationError, match=reason):
        forward_propagate(segment, shapes)


@pytest.mark.parametrize("strides", [(1, 0, 1, 1), (1, 1, 0, 1), (1, 1, -2, 1), (1, 1, 1.5, 1)])
def test_strides_are_positive_integers_along_both_axes(strides):
    with pytest.raises(PropagationError, match="are not positive integers"):
        integer_strides(strides)
