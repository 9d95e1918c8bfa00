"""Test an ensemble on networks that no member learnt from, and calibrate its deviation on the dev networks.

Prints a table per family: every member, and the mean of all. Where a family has few dev networks, `-more_data_dir` has
a cache with others, of which those count that are not in the family's own. With `-calibrate` it writes `ensemble.json`
beside the members, and `known_pieces.txt`, the pieces of the networks that they learnt from. The division into train,
dev and test is that of the training scripts.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import constants  # noqa: E402
from model_src.cli import FlagParser, non_negative_int, run_script  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.encoder.known_pieces import KnownPieces, Pieces, vocabulary_digest  # noqa: E402
from model_src.encoder.network_encoder import NetworkEncoder  # noqa: E402
from model_src.encoder.paths import DEFAULT_ENCODING, DEFAULT_VOCAB_SIZE, VocabularyName  # noqa: E402
from model_src.encoder.segmentation import segment_with_text  # noqa: E402
from model_src.encoder.tokenizer import Tokenizer  # noqa: E402
from model_src.families import DEFAULT_FAMILIES, parse_families  # noqa: E402
from model_src.family_data import split_names  # noqa: E402
from model_src.family_data.reading import family_path, iter_family  # noqa: E402
from model_src.predictor.calibration import Calibration  # noqa: E402
from model_src.predictor.checkpoint import ALL_FAMILIES  # noqa: E402
from model_src.predictor.data.psc_cache import PscCache  # noqa: E402
from model_src.predictor.data.psc_files import iter_selected  # noqa: E402
from model_src.predictor.ensemble import Ensemble, load_ensemble  # noqa: E402
from model_src.predictor.training.calibration import fit_deviation, within  # noqa: E402
from model_src.predictor.training.metrics import ranking_metrics  # noqa: E402
from model_src.search.run import with_run_normalisers  # noqa: E402

COLUMNS = ("srcc", "tau", "top10", "top1pct", "mae")


def scored(ensemble: Ensemble, cache: PscCache, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(networks, members) scores of the named networks, and their standardised accuracies."""
    chosen = set(names)
    networks = [network for network in cache.networks if network.name in chosen]
    items = [(entry.graph(cache.table), np.split(entry.order, entry.splits[:-1, 2])) for entry in networks]
    mean, deviation = ensemble.accuracy_scale(cache.family) or (0.0, 1.0)
    truth = (np.array([network.accuracy for network in networks]) - mean) / deviation
    return ensemble.score_members(items, cache.family), truth


def scored_too(
    ensemble: Ensemble, cache: PscCache, data_dir: Path, encoder: NetworkEncoder, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    """The same for networks of a family's cache in another folder that are not among those of the splits."""
    known = {network.name for network in cache.networks}
    others = [one for one in iter_family(cache.family, data_dir) if one.graph.name not in known]
    graphs = [with_run_normalisers(one.graph) for one in others]
    items = [(cg, [nodes for _, nodes in segment_with_text(cg, encoder, tokenizer)]) for cg in graphs]
    mean, deviation = ensemble.accuracy_scale(cache.family) or (0.0, 1.0)
    truth = (np.array([one.accuracy for one in others]) - mean) / deviation
    return ensemble.score_members(items, cache.family), truth


Scored = Mapping[str, tuple[np.ndarray, np.ndarray]]  # family -> see `scored`


def calibration_of(weights: np.ndarray, dev: Scored, more: Scored) -> Calibration:
    """The deviation of every family, from its dev networks and further ones; that of all, from the dev networks."""

    def errors(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means, deviations = np.array(Calibration().summary(scores, weights)).T
        return means - truth, deviations

    def joined(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
        return fit_deviation(*map(np.concatenate, zip(*[errors(*part) for part in parts], strict=True)))

    families = {family: joined(one[family] for one in (dev, more) if family in one) for family in dev}
    return Calibration({**families, ALL_FAMILIES: joined(dev.values())})


def rows_of(ensemble: Ensemble, scores: np.ndarray, truth: np.ndarray) -> list[str]:
    """A table row for every member, and for their mean."""
    rows = []
    for name, values in zip([*ensemble.member_names, "mean"], [*scores.T, scores @ ensemble.weights], strict=True):
        metrics = ranking_metrics(truth, values)
        rows.append(f"| {name} | " + " | ".join(f"{metrics[column]:.3f}" for column in COLUMNS) + " |")
    return rows


def training_pieces(
    caches: Iterable[tuple[PscCache, Sequence[str]]], encoder: NetworkEncoder, tokenizer: Tokenizer
) -> KnownPieces:
    """The pieces of the named networks of every family."""

    def networks() -> Iterator[tuple[ComputeGraph, Pieces]]:
        for cache, names in caches:
            chosen = set(names)
            for network in cache.networks:
                if network.name in chosen:
                    graph = network.graph(cache.table)
                    yield graph, segment_with_text(graph, encoder, tokenizer)

    return KnownPieces.collect(vocabulary_digest(encoder, tokenizer), networks())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-predictor_path", nargs="+", default=[str(constants.SAVED_MODELS_DIR / "ensemble")], help="files or a folder")
    add("-data_families", default=DEFAULT_FAMILIES, help="families to test on, joined with +")
    add("-cache_dir", type=Path, default=constants.CACHE_DIR, help="folder of the selected splits")
    add("-split_seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="of the division of the networks")
    add("-more_data_dir", type=Path, help="folder of family caches with further dev networks")
    add("-calibrate", action="store_true", help="write ensemble.json into the folder")
    args = parser.parse_args(argv)
    ensemble = load_ensemble(args.predictor_path)
    vocabulary = VocabularyName(parse_families(DEFAULT_FAMILIES), DEFAULT_ENCODING, DEFAULT_VOCAB_SIZE)
    files = vocabulary.files()
    encoder, tokenizer = NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)
    dev, more, test, trained_on = {}, {}, {}, []
    for family in parse_families(args.data_families):
        (cache,) = iter_selected(args.cache_dir, {family: "all"}, vocabulary)
        names = split_names([network.name for network in cache.networks], 0.1, 0.1, args.split_seed)
        dev[family], test[family] = (scored(ensemble, cache, names[side]) for side in ("dev", "test"))
        if args.more_data_dir and family_path(family, args.more_data_dir).exists():
            more[family] = scored_too(ensemble, cache, args.more_data_dir, encoder, tokenizer)
        trained_on.append((cache, names["train"]))
    calibrated = Ensemble(ensemble.members, calibration_of(ensemble.weights, dev, more))
    for family, (scores, truth) in test.items():
        means, deviations = np.array(calibrated.summary(scores, family)).T
        shares = [within(means - truth, deviations, times) for times in (1, 2)]
        print(f"\n{family}: {len(truth)} test networks, {shares[0]:.1%} within 1 deviation, {shares[1]:.1%} within 2\n")
        print("| member | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1))
        print("\n".join(rows_of(calibrated, scores, truth)), flush=True)
    if args.calibrate:
        folder = Path(args.predictor_path[0])
        calibrated.calibration.save(folder / Calibration.FILE_NAME)
        training_pieces(trained_on, encoder, tokenizer).save(folder / KnownPieces.FILE_NAME)
    return 0


if __name__ == "__main__":
    run_script(main)
