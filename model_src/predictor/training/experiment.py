"""What the training scripts run: one training and test per seed, with logs and a table over the seeds."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from model_src.places import tell_written
from model_src.predictor.data.examples import Examples
from model_src.predictor.settings import Experiment
from model_src.predictor.training.evaluation import RunFiles, run_test
from model_src.predictor.training.loop import run_training
from model_src.predictor.training.metrics import METRICS, summary
from model_src.runtime import choose_device, log_to

_log = logging.getLogger(__name__)


def run_experiment(
    predictor_type: str,
    examples: Examples,
    names: Mapping[str, Mapping[str, list[str]]],
    experiment: Experiment,
    run_name: Callable[[int], str],
) -> dict[int, dict[str, Any]]:
    """Train and test with every seed.

    Args:
        predictor_type: `GNN` or `PSC_predictor`.
        examples: All items.
        names: Family -> `train`, `dev` and `test` -> names of networks.
        experiment: What to run.
        run_name: Gives the results of a seed their name.

    Returns:
        Seed -> family -> see `metrics.family_report`.

    Raises:
        InputError: The data or an earlier checkpoint cannot be used.
    """
    device = choose_device(experiment.device)
    if experiment.num_workers:
        torch.set_num_threads(experiment.num_workers)
    sides = examples.divide(names)
    reports = {}
    for seed in (experiment.training.seed, *range(1, experiment.num_seeds)):
        files = RunFiles.named(experiment.saved_models_dir, run_name(seed))
        log = experiment.logs_dir / f"{run_name(seed)}.txt"
        with log_to(log):
            if not experiment.run_test_only:
                training = replace(experiment.training, seed=seed)
                division = {name: getattr(experiment, name) for name in ("dev_ratio", "test_ratio", "split_seed")}
                run_training(
                    *(predictor_type, examples, sides, experiment.model, training, files, device),
                    resume=experiment.resume,
                    division=division,
                )
            reports[seed] = run_test(predictor_type, examples, sides["test"], files, device, experiment.test_folds)
            for family, report in reports[seed].items():
                _log.info(describe(family, report))
        trained = () if experiment.run_test_only else (files.best, files.latest)
        tell_written(*trained, files.report, log)
    if len(reports) > 1:
        log = experiment.logs_dir / f"{experiment.model_name}_acc_allseeds.txt"
        with log_to(log):
            for line in seed_table(reports):
                _log.info(line)
        tell_written(log)
    return reports


def describe(family: str, report: Mapping[str, Any]) -> str:
    """One line about a family's test."""
    parts = [
        f"{name.upper()} {values['mean']:.6f} +- {values['std']:.6f} ({values['min']:.6f} to {values['max']:.6f})"
        for name, values in report["folds"].items()
    ]
    ranking = f"{report['networks']['srcc']:.6f} by mean prediction of {report['networks']['count']} networks"
    return f"test {family}: {', '.join(parts)}; SRCC {ranking}"


def seed_table(reports: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Lines with every family's metrics, mean and deviation over the seeds."""
    lines = [f"seeds {', '.join(map(str, reports))}"]
    for family in next(iter(reports.values())):
        over_seeds = {
            name: summary([report[family]["folds"][name]["mean"] for report in reports.values()]) for name in METRICS
        }
        shown = [f"{name.upper()} {values['mean']:.6f} +- {values['std']:.6f}" for name, values in over_seeds.items()]
        lines.append(f"{family}: {', '.join(shown)}")
    return lines
