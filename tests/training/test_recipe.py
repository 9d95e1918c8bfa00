import numpy as np
import pytest

from model_src.training.flags import RECIPE_NAMES
from model_src.training.recipe import RECIPES, FastConfig, TrainConfig, TrainingError, reason_of


def test_the_defaults_are_the_published_recipe():
    config = TrainConfig()
    assert (config.epochs, config.batch_size, config.train_images) == (200, 256, None)
    assert (config.learning_rate, config.final_learning_rate, config.momentum) == (1e-3, 1e-6, 0.9)
    assert (config.zoom, config.kernel_l2) == (0.2, 1e-5)


def test_the_learning_rate_falls_along_a_cosine_to_a_thousandth():
    rates = [TrainConfig().rate(step, 100) for step in (0, 50, 100)]
    assert rates == [1e-3, pytest.approx((1e-3 + 1e-6) / 2), pytest.approx(1e-6)]
    assert TrainConfig().rate(25, 100) == pytest.approx(1e-6 + 0.999e-3 * (1 + 0.5**0.5) / 2)


def test_an_epoch_shows_every_image_once_and_flips_half():
    order, scales = TrainConfig().plan(2000, np.random.default_rng(0))
    assert order.tolist() != list(range(2000))
    assert sorted(order) == list(range(2000))
    assert scales.shape == (2000, 2)
    assert scales.dtype == np.float32
    assert 0.8 <= abs(scales).min() < 0.81
    assert 1.19 < abs(scales).max() <= 1.2
    assert 0.45 < (scales[:, 0] < 0).mean() < 0.55
    assert (scales[:, 1] > 0).all()


def test_the_fast_rate_goes_up_and_down_in_lines():
    rates = [FastConfig(peak_rate=1.0, warm_up=0.25).rate(step, 8) for step in range(8)]
    assert rates == pytest.approx([1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert FastConfig(warm_up=0.0).rate(0, 1) == 0.2


def test_a_fast_epoch_moves_every_image_and_flips_half():
    order, moves = FastConfig(padding=2).plan(2000, np.random.default_rng(0))
    assert sorted(order) == list(range(2000))
    assert {tuple(place) for place in moves[:, :2].tolist()} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}
    assert 0.45 < moves[:, 2].mean() < 0.55
    assert set(moves[:, 2].tolist()) == {0, 1}


def test_recipes_have_names():
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {"published": "published", "fast": "fast"}
    assert tuple(RECIPES) == RECIPE_NAMES


@pytest.mark.parametrize("recipe", [TrainConfig(), FastConfig()])
def test_a_generator_decides_the_plan(recipe):
    plans = [recipe.plan(50, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (plans[0][0] == plans[1][0]).all()
    assert (plans[0][1] == plans[1][1]).all()
    assert (plans[0][0] != plans[2][0]).any()
    assert (plans[0][1] != plans[2][1]).any()


def test_a_reason_is_one_line():
    assert reason_of(TrainingError("the loss is\nno  number")) == "TrainingError: the loss is no number"
