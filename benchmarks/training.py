"""PSC training on splits of HiAML networks: samples per second on one thread, batches built included."""

import time

import numpy as np
from harness import Row, random_networks, run, shipped_files

NETWORKS = 200
PUBLISHED = 243


def _examples():
    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segmentation import segment_with_text
    from model_src.encoder.tokenizer import Tokenizer
    from model_src.predictor.data.examples import split_examples
    from model_src.predictor.data.psc_cache import build_cache, sample_splits
    from model_src.predictor.settings import ModelConfig

    files, rng = shipped_files(), np.random.default_rng(0)
    encoder, tokenizer = NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)
    cut = (
        (cg, 0.9 + 0.01 * rng.random(), segment_with_text(cg, encoder, tokenizer))
        for cg in random_networks("hiaml", NETWORKS)
    )
    cache = sample_splits(build_cache("hiaml", cut), "all", rng)
    return split_examples([cache], ModelConfig().num_layers)


def measure() -> list[Row]:
    """Epochs of the training loop with batches of 32 networks; the first one warms up."""
    import torch

    from model_src.predictor.settings import ModelConfig, TrainingConfig
    from model_src.predictor.training.loop import Training
    from model_src.predictor.training.losses import Goals

    torch.set_num_threads(1)  # as `-num_workers 1` does; more threads wait for each other
    examples = _examples()
    items = np.arange(len(examples.pack.network))
    scales = examples.target_normalisers(items)
    goals = Goals.of(examples, "PSC_predictor", scales)
    rows = []
    for name, samples in (("all their splits", None), ("8 splits of each", 8), ("1 split of each", 1)):
        config = TrainingConfig(epochs=100, epoch_samples=samples)
        training = Training("PSC_predictor", ModelConfig(), config, torch.device("cpu"), scales)
        counts = np.bincount(examples.pack.network)
        count = int(np.minimum(counts, samples or counts).sum())
        rates = []
        while len(rates) < 4 or (len(rates) < 10 and sum(count / rate for rate in rates) < 6):
            start = time.perf_counter()
            training.run_epoch(examples, goals, items)
            rates.append(count / (time.perf_counter() - start))
        target = 10 * PUBLISHED if samples is None else None
        work = f"PSC training, `hiaml`, 32 networks a batch, {name}"
        rows.append(Row(work, "samples/s", tuple(rates[1:]), target, more_is_better=True, published=PUBLISHED))
    return rows


if __name__ == "__main__":
    run(measure, __doc__)
