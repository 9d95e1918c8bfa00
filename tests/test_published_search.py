"""The search as the paper has it, with the checkpoint that was shipped with it."""

import csv
from hashlib import sha256

import pytest

import autogo
from constants import ROOT

CHECKPOINT = ROOT / "saved_models" / "psc_chkpt.pt"
COLUMNS = 10  # of version 0.1, up to `hash`


def test_the_checkpoint_is_the_one_whose_searches_are_pinned():
    expected = "c42b513c05113d151d0beb9fd40e036e4a03e7524f35bbe8c790dca827d91434"
    assert sha256(CHECKPOINT.read_bytes()).hexdigest() == expected


@pytest.mark.slow
def test_without_rescoring_a_search_finds_what_it_always_found(tmp_path):
    flags = f"""-model_path {ROOT}/architectures/nb201_best.pkl -model_family nb201 -predictor_path {CHECKPOINT}
        -predictor_type PSC_predictor -input_h 32 -input_w 32 -input_c 3 -epoch 10 -top_k 10
        -max_candidate_per_iter 10 -max_target_per_iter 100 -num_train_cgs 0 -min_flops_decrease_percent -10
        -max_flops_decrease_percent 100 -mutation_unit segment -n_jobs 2 -rescore_per_iter 0 -no_drawings"""
    assert autogo.main([*flags.split(), "-output_dir", str(tmp_path), "-logs_dir", str(tmp_path / "logs")]) == 0
    (path,) = tmp_path.glob("nb201_*/pareto.csv")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][COLUMNS - 1] == "hash"
    former = "".join(",".join(row[:COLUMNS]) + "\n" for row in rows)
    assert sha256(former.encode()).hexdigest() == "bff31b8fb6dbf133569eb3145bb393850a2a24e97c19931bd3128e22cde266f7"
