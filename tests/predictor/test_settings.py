import argparse

import pytest

from model_src.cli import FlagParser
from model_src.files import InputError
from model_src.predictor.settings import (
    ModelConfig,
    TrainingConfig,
    add_training_flags,
    experiment,
    sample_count,
    samples_by_family,
    split_count,
)


def parse(*argv):
    parser = FlagParser("test")
    add_training_flags(parser, "name", "hiaml")
    return experiment(parser.parse_args(argv))


def test_defaults_are_the_published_ones():
    found = parse()
    assert found.model == ModelConfig()
    assert found.training == TrainingConfig()
    assert (found.training.epochs, found.training.batch_size, found.training.initial_lr) == (40, 32, 1e-4)
    assert (found.training.seed, found.training.max_gradient_norm, found.num_seeds) == (12345, 5.0, 1)


def test_flags_arrive():
    flags = ["-epochs", "3", "--num-layers", "2", "-normalize_HW_per_family", "-select", "mae", "-num_workers", "1"]
    found = parse(*flags)
    assert (found.training.epochs, found.training.select, found.num_workers) == (3, "mae", 1)
    assert found.model == ModelConfig(num_layers=2, map_size=32)


def test_dead_flags_are_accepted():
    assert parse("-allow_parallel", "-word_delim", ";", "-saved_model_file", "x").model == ModelConfig()


@pytest.mark.parametrize("flags", [("-epochs", "0"), ("-initial_lr", "-1"), ("-select", "r2"), ("-dev_ratio", "2")])
def test_bad_values_are_refused(flags):
    with pytest.raises(InputError, match=flags[0]):
        parse(*flags)


@pytest.mark.parametrize(("text", "expected"), [("all", "all"), ("100", "100.0"), ("100.0", "100.0"), ("0.5", "0.5")])
def test_one_way_to_write_a_number_of_samples(text, expected):
    assert sample_count(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "some"])
def test_bad_numbers_of_samples(text):
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        sample_count(text)


def test_number_of_splits():
    assert split_count("all") is None
    assert split_count("16") == 16


@pytest.mark.parametrize(
    ("families", "num_samples", "expected"),
    [
        ("two_path+nb101+hiaml", "1+all+0.5", {"hiaml": "0.5", "nb101_5k": "all", "two_path": "1.0"}),
        ("two_path+hiaml", "all", {"hiaml": "all", "two_path": "all"}),
    ],
)
def test_numbers_of_samples_follow_the_families_as_typed(families, num_samples, expected):
    found = samples_by_family(families, num_samples)
    assert found == expected
    assert list(found) == sorted(expected)


@pytest.mark.parametrize("num_samples", ["all+all+all", "many", "0"])
def test_numbers_of_samples_must_fit(num_samples):
    with pytest.raises(InputError, match=r"-num_samples .*: "):
        samples_by_family("hiaml+two_path", num_samples)
