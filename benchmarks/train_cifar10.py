"""Training on CIFAR-10: our path against a plain float32 loop, how much of the device it uses, and both recipes.

The plain loop is eager PyTorch with a data loader that zooms and flips single images on the CPU; it trains nb201_best.
The recipes are timed on the five inputs, by the published one in float32 on a CPU, by the fast one in bfloat16 where it
has that. Images are random. On a CPU a few small steps are timed, the plain loop on one thread, the recipes on all.
"""

import math
import os
import time
from collections.abc import Iterator
from statistics import median

from harness import Row, run, shipped_network

GPU_STEPS, CPU_STEPS = 120, 9
GPU_BATCH, CPU_BATCH = 256, 32
STEPS_BETWEEN_READINGS = {"cuda": 20, "cpu": 1}  # our path reads the loss now and then, the plain loop in every step
INPUTS = ("hiaml", "two_path", "inception", "nb101", "nb201")
TARGET = 5  # times the plain loop, on an H100
RECIPE_STEPS, RECIPE_BATCH = {"cuda": 40, "cpu": 4}, {"cuda": 256, "cpu": 64}
MATRIX = {"cuda": 8192, "cpu": 2048}
PRODUCTS = 25


def _random_images(count: int):
    import numpy as np

    from model_src.training.image_data import ImageData

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    return ImageData(images, labels, images[:1], labels[:1])


def _ours(cg, config, data, how) -> Iterator[float]:
    """Seconds of every step of our path, the mean of those between two readings."""
    import numpy as np

    from model_src.runtime import choose_device
    from model_src.training.loop import TrainingLoop, make_learner

    loop = TrainingLoop(make_learner(cg, config, 0, data, how), config, 0, "ours")
    loop.learner.start_epoch(*config.plan(loop.learner.n_train, np.random.default_rng(0)))
    chunk = STEPS_BETWEEN_READINGS[choose_device(how.device).type]
    begin = time.perf_counter()
    for number in range(loop.learner.n_train // config.batch_size):
        loss, _ = loop.step(number * config.batch_size, (number + 1) * config.batch_size)
        if number % chunk == chunk - 1:
            float(loss)
            yield from [(time.perf_counter() - begin) / chunk] * chunk
            begin = time.perf_counter()


def _plain(cg, config, data, device) -> Iterator[float]:
    """Seconds of every step of a loop as it is commonly written."""
    import torch
    from torch.nn import functional

    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
    from model_src.training.methods import zoom

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(data.train_images)

        def __getitem__(self, index: int) -> tuple:
            scales = 1 + config.zoom * (2 * torch.rand(1, 2) - 1)
            scales[:, 0] *= 1 - 2 * torch.randint(0, 2, (1,))
            image = torch.from_numpy(data.train_images[index : index + 1]).float() / 255
            return zoom(image, scales)[0], data.train_labels[index]

    network = build_torch_network(cg, seed=0).to(device).train()
    optimiser = torch.optim.RMSprop(network.parameters(), config.learning_rate, momentum=config.momentum, centered=True)
    n_workers = (os.cpu_count() or 1) if device.type == "cuda" else 0
    loader = torch.utils.data.DataLoader(Images(), config.batch_size, shuffle=True, num_workers=n_workers)
    begin = time.perf_counter()
    for images, labels in loader:
        loss = functional.cross_entropy(network(images.to(device)), labels.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        yield time.perf_counter() - begin
        begin = time.perf_counter()


def _peak(device, dtype) -> float:
    """FLOPs per second of a large matrix product, the best of many."""
    import torch

    size = MATRIX[device.type]
    matrix = torch.rand(size, size, device=device).to(dtype)
    best = math.inf
    for _ in range(PRODUCTS):
        begin = time.perf_counter()
        (matrix @ matrix)[0, 0].item()
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def measure() -> list[Row]:
    """Both loops and the product on the GPU if there is one; the first third of the steps warms up."""
    import torch

    from model_src.comp_graph.tf_comp_graph import OP2I
    from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
    from model_src.runtime import choose_device
    from model_src.training.cifar10 import has_bfloat16
    from model_src.training.cost import PASSES
    from model_src.training.recipe import Execution, TrainConfig

    device, cg = choose_device(), shipped_network()
    on_gpu = device.type == "cuda"
    if not on_gpu:
        torch.set_num_threads(1)
    batch, n_steps = (GPU_BATCH, GPU_STEPS) if on_gpu else (CPU_BATCH, CPU_STEPS)
    config, data = TrainConfig(batch_size=batch), _random_images(batch * n_steps)
    name = torch.cuda.get_device_name(device) if on_gpu else "CPU"
    work = f"training `nb201_best`, batches of {batch}, {name}"

    def rates(seconds: Iterator[float]) -> tuple[float, ...]:
        return tuple(batch / one for one in list(seconds)[n_steps // 3 :])

    plain = Row(f"{work}: plain loop", "images/s", rates(_plain(cg, config, data, device)))
    rows = [plain]
    for compiled in (False, True) if on_gpu else (False,):
        ours = rates(_ours(cg, config, data, Execution(str(device), compile=compiled)))
        title = f"{work}: ours{', compiled' if compiled else ''}"
        target = TARGET if on_gpu and not compiled else None
        flops = PASSES * 1e6 * compute_cg_flops(cg, OP2I().build_from_file())
        peak = _peak(device, torch.bfloat16 if has_bfloat16(device) else torch.float32)
        ratios, shares = (tuple(one * factor for one in ours) for factor in (1 / plain.median, 100 * flops / peak))
        rows.append(Row(title, "images/s", ours))
        rows.append(Row(f"{title} / plain", "times", ratios, target, more_is_better=True))
        rows.append(Row(f"{title}, FLOPs of a matrix product ({peak / 1e12:.3g} TFLOPs/s)", "%", shares))
    if not on_gpu:
        torch.set_num_threads(os.cpu_count() or 1)
    return [*rows, *_recipes(device, name)]


def _recipes(device, name: str) -> Iterator[Row]:
    """Images per second of both recipes for the five inputs; the first step warms up."""
    from model_src.training.recipe import RECIPES, Execution

    n_steps, batch = RECIPE_STEPS[device.type], RECIPE_BATCH[device.type]
    data = _random_images(batch * n_steps)
    for family in INPUTS:
        found = {}
        for recipe in RECIPES.values():
            steps = list(_ours(shipped_network(family), recipe(batch_size=batch), data, Execution(str(device))))
            found[recipe.name] = tuple(batch / one for one in steps[n_steps // 4 :])
            yield Row(
                f"training `{family}_best`, {recipe.name} recipe, batches of {batch}, {name}",
                "images/s",
                found[recipe.name],
            )
        ratio = tuple(fast / median(found["published"]) for fast in found["fast"])
        yield Row(f"training `{family}_best`: fast / published", "times", ratio)


if __name__ == "__main__":
    run(measure, __doc__)
