import pytest

from model_src.family_data import split_names
from model_src.files import InputError

NAMES = [f"net{n}" for n in range(100)]


def test_split_sizes_and_parts():
    split = split_names(NAMES, 0.1, 0.25, seed=1)
    assert [len(split[part]) for part in ("train", "dev", "test")] == [65, 10, 25]
    assert sorted(split["train"] + split["dev"] + split["test"]) == sorted(NAMES)
    assert all(part == sorted(part) for part in split.values())


def test_a_split_depends_on_the_seed_and_on_nothing_else():
    assert split_names(reversed(NAMES + NAMES), 0.1, 0.1, seed=1) == split_names(NAMES, 0.1, 0.1, seed=1)
    assert split_names(NAMES, 0.1, 0.1, seed=2) != split_names(NAMES, 0.1, 0.1, seed=1)


def test_a_split_hardly_changes_with_the_set():
    before, after = (set(split_names(names, 0.1, 0.1, seed=1)["test"]) for names in (NAMES, NAMES[1:]))
    assert len(before & after) >= len(before) - 2


def test_parts_of_ratio_zero_stay_in_train():
    split = split_names(NAMES, 0, 0.1, seed=1)
    assert len(split["dev"]) == 1
    assert split["dev"][0] in split["train"]
    assert (len(split["train"]), len(split["test"])) == (90, 10)


@pytest.mark.parametrize(("count", "ratio"), [(0, 0.1), (1, 0), (2, 0.1), (100, 0.5)])
def test_too_few_names(count, ratio):
    with pytest.raises(InputError, match=f"{count} networks cannot be divided"):
        split_names(NAMES[:count], ratio, ratio, seed=1)
