"""Where the images of a batch are among the axes of a tensor, so that shapes can leave their number open."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

Sizes = tuple[int, ...]


class Place(NamedTuple):
    """Where images are: in an axis, each number of which they share with `major` others that come first."""

    axis: int = 0
    major: int = 1


def place_after(
    kind: str, attributes: Mapping[str, Any], before: Sizes, place: Place, after: Sizes, images: int
) -> Place:
    """Where the images of a result are.

    Args:
        kind: Type of the operation.
        attributes: Its attributes, with axes from 0 on.
        before: Sizes of an operand that has images.
        place: Where they are there.
        after: Sizes of the result.
        images: How many there are.
    """
    axis = place.axis
    if kind in ("Flatten", "Reshape"):
        return _reshaped(before, place, after, images, attributes.get("shape", ()))
    if kind == "Transpose":
        axis = list(attributes["perm"]).index(axis)
    elif kind == "Unsqueeze":
        axis = [one for one in range(len(after)) if one not in attributes["axes"]][axis]
    elif kind == "Squeeze" or (kind.startswith("Reduce") and len(after) < len(before)):
        axis -= sum(one < axis for one in attributes["axes"])
    elif kind == "Gather":
        axis -= len(after) < len(before) and attributes.get("axis", 0) < axis
    else:  # operands are aligned at their last axes
        axis += len(after) - len(before)
    return Place(max(axis, 0), place.major)


def _reshaped(before: Sizes, place: Place, after: Sizes, images: int, written: Sequence[int]) -> Place:
    """The axis in which numbers lie as far apart as the images did; of a single image the likeliest."""
    outer = prod(before[: place.axis]) * place.major
    starts = [prod(after[:axis]) for axis in range(len(after))]
    behind = [axis for axis, start in enumerate(starts) if start == outer and after[axis] % images == 0]
    alone = [axis for axis in behind if after[axis] == images]
    inside = [axis for axis, start in enumerate(starts) if start <= outer < start * after[axis] + (images == 1)]
    is_flattened = images == 1 and len(after) < len(before)
    open_ = [axis for axis in {*behind, *inside} if written[axis : axis + 1] == [-1]]
    axis = next(iter(alone or open_ or (inside if is_flattened else behind or inside)), 0)
    return Place(axis, max(outer // starts[axis], 1))
