"""The script: a short real search, its files, and every kind of bad input."""

import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import autogo
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segmentation import segment
from model_src.encoder.tokenizer import Tokenizer
from model_src.files import InputError, save_pickle
from model_src.predictor.ensemble import load_ensemble
from tests.children import lives, wait_for, workers

ROOT = Path(autogo.__file__).parent
PSC = str(ROOT / "saved_models" / "psc_chkpt.pt")
ENSEMBLE = str(ROOT / "saved_models" / "ensemble")
GNN = str(ROOT / "saved_models" / "gnn_chkpt.pt")


def arguments(tmp_path, **changes):
    """A short search on the shipped network; None leaves a flag out, True makes it a switch, a list several words."""
    flags = {
        "model_path": ROOT / "architectures" / "nb201_best.pkl",
        "model_family": "nb201",
        "predictor_path": PSC,
        "predictor_type": "PSC_predictor",
        "input_h": 32,
        "input_w": 32,
        "input_c": 3,
        "epoch": 2,
        "top_k": 2,
        "max_candidate_per_iter": 4,
        "max_target_per_iter": 10,
        "rescore_per_iter": 0,
        "min_flops_decrease_percent": -10,
        "max_flops_decrease_percent": 100,
        "output_dir": tmp_path / "out",
        "logs_dir": tmp_path / "out",
        "no_drawings": True,
        **changes,
    }
    words = {
        name: [] if value is True else value if isinstance(value, list) else [value] for name, value in flags.items()
    }
    return [str(part) for name, values in words.items() if values != [None] for part in (f"-{name}", *values)]


def table_of(folder: Path) -> list[dict]:
    return list(csv.DictReader((folder / "pareto.csv").read_text().splitlines()))


def result_folder(tmp_path) -> Path:
    (folder,) = (tmp_path / "out").iterdir()
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("search")
    autogo.main(arguments(tmp_path))
    return result_folder(tmp_path)


def test_published_flags_without_effect_are_accepted(tmp_path):
    changes = {"predictor_hidden_size": 64, "predictor_gnn_activ": "relu", "train_dataset": "CIFAR10"}
    given, plain = (vars(autogo.parse_args(arguments(tmp_path, **more))) for more in (changes, {}))
    assert {name: given[name] for name in plain} == plain


def test_default_folders_do_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = autogo.parse_args(arguments(tmp_path, output_dir=None, logs_dir=None))
    assert Path(args.output_dir) == Path(args.logs_dir) == ROOT / "outputs"


def test_folder_and_files(finished):
    assert finished.name.startswith("nb201_segment_epoch_2_max_target_10_top_k_2_PSC_predictor_20")
    rows = table_of(finished)
    ranks = {f"rank_{row['rank']}.{kind}" for row in rows[1:] for kind in ("pkl", "json.gz")}
    names = {path.name for path in finished.iterdir()}
    others = {"params.pkl", "params.json", "input.pkl", "pareto.csv", "genealogy.json", "iterations", "report.html"}
    assert names == {*others, "mutation_result.txt", "pareto.png", "pareto.svg", "search.log"} | ranks
    assert pickle.loads((finished / "params.pkl").read_bytes()).top_k == 2


@pytest.mark.parametrize("family", ["nb201", "hiaml", "two_path", "inception", "nb101"])
def test_files_keep_their_claims(tmp_path, capsys, family):
    """A result that is read back and scored has the score of its row."""
    path = ROOT / "architectures" / f"{family}_best.pkl"
    changes = {"model_path": path, "model_family": family, "rescore_per_iter": 8, "epoch": 1, "max_score_drop": 3}
    autogo.main(arguments(tmp_path, predictor_path=ENSEMBLE, **changes))
    assert "predicted accuracy" in capsys.readouterr().out
    folder = result_folder(tmp_path)
    files = vocabulary_files()
    encoder, tokenizer = NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)
    rows = table_of(folder)
    assert len(rows) > 1
    graphs = [load_cg(folder / (row["file"] or "input.pkl")) for row in rows]
    networks = [(cg, segment(cg, encoder, tokenizer)) for cg in graphs]
    scores = load_ensemble(ENSEMBLE, "cpu").score_networks(networks[1:], family)
    assert [(float(row["score"]), float(row["score_sd"])) for row in rows[1:]] == [
        pytest.approx(pair, abs=2e-6) for pair in scores
    ]


def test_results_are_better_and_run_in_pytorch(finished):
    rows = table_of(finished)
    source, results = rows[0], rows[1:]
    assert results
    for row in results:
        assert float(row["score"]) > float(source["score"])
        network = build_torch_network(load_cg(finished / row["file"])).eval()
        with torch.inference_mode():
            assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_same_seed_and_any_number_of_workers_give_the_same_bytes(finished, tmp_path):
    for name, jobs in (("one", 1), ("two", 2)):
        autogo.main(arguments(tmp_path / name, n_jobs=jobs))
        assert (result_folder(tmp_path / name) / "pareto.csv").read_bytes() == (finished / "pareto.csv").read_bytes()


@pytest.fixture
def two_workers(tmp_path):
    """A search that has just started its second worker process, and its workers."""
    command = [sys.executable, "autogo.py", *arguments(tmp_path, n_jobs=2)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert wait_for(lambda: len(workers(process.pid)) == 2)
        yield process, workers(process.pid)
        process.kill()


def test_killed_workers_change_no_byte(finished, two_workers, tmp_path):
    process, children = two_workers
    for child in children:
        os.kill(child, signal.SIGKILL)
    _, text = process.communicate()
    assert process.returncode == 0
    assert "its process was killed, perhaps for its memory; it is done again" in text
    assert "Traceback" not in text
    assert (result_folder(tmp_path) / "pareto.csv").read_bytes() == (finished / "pareto.csv").read_bytes()


@pytest.mark.slow
def test_a_stopped_worker_is_ended_at_its_limit_and_changes_no_byte(finished, tmp_path):
    short = "from model_src.search.config import SearchConfig; SearchConfig.patience = property(lambda self: 60.0)"
    command = [sys.executable, "-c", f"{short}; import autogo; autogo.cli()", *arguments(tmp_path, n_jobs=2)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert wait_for(lambda: len(workers(process.pid)) == 2)
        os.kill(workers(process.pid)[0], signal.SIGSTOP)
        _, text = process.communicate()
    assert process.returncode == 0
    assert "not done within 60 s; it is done again" in text
    assert (result_folder(tmp_path) / "pareto.csv").read_bytes() == (finished / "pareto.csv").read_bytes()


@pytest.mark.slow
def test_workers_end_with_a_killed_search(two_workers):
    process, children = two_workers
    process.kill()
    assert "Traceback" not in process.communicate()[1]
    assert wait_for(lambda: not any(map(lives, children)))


@pytest.mark.parametrize("unit", ["segment", "op"])
def test_gnn_guidance_and_single_operations(tmp_path, unit):
    changes = {"predictor_path": GNN, "predictor_type": "GNN", "mutation_unit": unit, "epoch": 1}
    assert autogo.main(arguments(tmp_path, **changes)) == 0
    assert (result_folder(tmp_path) / "pareto.csv").exists()


def test_a_search_that_cannot_begin_leaves_no_folder(tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("no segment")

    monkeypatch.setattr("model_src.search.running.search_into", refuse)
    with pytest.raises(InputError):
        autogo.main(arguments(tmp_path, logs_dir=tmp_path / "logs"))
    assert not any(path for parent in ("out", "logs") for path in (tmp_path / parent).iterdir())


def test_export(tmp_path):
    autogo.main([*arguments(tmp_path, epoch=1, max_target_per_iter=4), "-export", "onnx", "torch"])
    names = {path.name for path in result_folder(tmp_path).iterdir()}
    ranks = [name[5:-4] for name in names if name.startswith("rank_") and name.endswith(".pkl")]
    assert ranks
    assert {f"rank_{rank}.{kind}" for rank in ranks for kind in ("onnx", "py", "pt")} <= names


def test_drawings(tmp_path):
    autogo.main(arguments(tmp_path, epoch=1, max_candidate_per_iter=3, max_target_per_iter=4, no_drawings=None))
    names = {path.name for path in result_folder(tmp_path).iterdir()}
    ranks = [name[5:-4] for name in names if name.startswith("rank_") and name.endswith(".pkl")]
    assert {"input_arch.png", *(f"{kind}_{rank}.png" for rank in ranks for kind in ("rank", "mutant"))} <= names


def test_reports_are_written_again_and_compared(finished, tmp_path, capsys):
    """By a command line of its own, which needs no other flag."""
    folders = [shutil.copytree(finished, tmp_path / name) for name in ("a", "b")]
    for folder in folders:
        (folder / "report.html").unlink()
    before = {path.name for path in finished.iterdir()}
    assert autogo.main(["-report", *map(str, folders), "-output_dir", str(tmp_path), "-no_drawings"]) == 0
    *pages, comparison = [line.removeprefix("Wrote ") for line in capsys.readouterr().out.splitlines()]
    assert pages == [str(folder / "report.html") for folder in folders]
    assert "2 searches" in Path(comparison).read_text()
    assert all({path.name for path in folder.iterdir()} == before for folder in folders)
    with pytest.raises(InputError, match="is this the folder of a finished search"):
        autogo.main(["-report", str(tmp_path)])


def test_drawings_use_the_vocabulary_of_the_run(tmp_path, monkeypatch):
    paths = []
    monkeypatch.setattr("model_src.encoder.network_encoder.NetworkEncoder.load", paths.append)
    monkeypatch.setattr("model_src.encoder.tokenizer.Tokenizer.load", paths.append)
    monkeypatch.setattr("model_src.search.output.write_results", lambda *_: None)
    monkeypatch.setattr("model_src.search.output.write_pictures", lambda *_: (_ for _ in ()).throw(InputError("seen")))
    for name in ("frontier_table", "pareto_rows", "summary"):
        monkeypatch.setattr(f"model_src.search.report.{name}", lambda *_: "")
    changes = {"graph_encoder_path": "e.pkl", "tokenizer_path": "t.model", "mutation_unit": "op", "no_drawings": None}
    with pytest.raises(InputError, match="seen"):
        autogo.report(autogo.parse_args(arguments(tmp_path, **changes)), SimpleNamespace(whole=lambda: None), None)
    assert paths == ["e.pkl", "t.model"]


def test_a_failing_drawing_does_not_end_the_search(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("model_src.comp_graph.draw.sysconfig.get_path", lambda _: "/nonexistent")
    assert autogo.main(arguments(tmp_path, epoch=1, no_drawings=None)) == 0
    assert "no picture" in caplog.text
    assert (result_folder(tmp_path) / "pareto.csv").exists()


class Foreign:
    """A class that no graph file may name."""


# Case -> flags that differ from a good command line, and what the message must name.
def test_a_gnn_alone_screens_in_fractions(tmp_path):
    changes = {"predictor_path": ENSEMBLE, "predictor_type": "GNN", "epoch": 1, "rescore_per_iter": 0}
    autogo.main(arguments(tmp_path, **changes))
    source, *_ = table_of(result_folder(tmp_path))
    assert float(source["accuracy"]) == pytest.approx(100 * float(source["score"]), abs=1e-4)


def test_a_name_is_no_formula(tmp_path):
    graph = load_cg(ROOT / "architectures" / "hiaml_best.pkl")
    state = {**graph.state_dict(), "name": "price_$5_$" + "x" * 900}
    (tmp_path / "odd.json").write_text(json.dumps(state))
    changes = {"model_path": tmp_path / "odd.json", "model_family": "hiaml", "epoch": 1}
    assert autogo.main(arguments(tmp_path, **changes)) == 0
    assert (result_folder(tmp_path) / "pareto.png").stat().st_size > 5000


BAD_INPUT = {
    "missing model": ({"model_path": "{tmp}/none.pkl"}, "none.pkl"),
    "not a pickle": ({"model_path": "{tmp}/text.pkl"}, "text.pkl"),
    "wrong kind": ({"model_path": "{tmp}/graph.txt"}, "graph.txt"),
    "foreign class": ({"model_path": "{tmp}/foreign.pkl"}, "not allowed"),
    "no graph": ({"model_path": "{tmp}/dict.pkl"}, "dict.pkl"),
    "unknown family": ({"model_family": "vgg"}, "-model_family"),
    "unknown encoder family": ({"graph_encoder_family": "vgg"}, "-graph_encoder_family"),
    "unknown type": ({"predictor_type": "MLP"}, "-predictor_type"),
    "other type": ({"predictor_type": "GNN"}, "psc_chkpt.pt"),
    "missing checkpoint": ({"predictor_path": "{tmp}/none.pt"}, "none.pt"),
    "no checkpoint": ({"predictor_path": "{tmp}/text.pkl"}, "text.pkl"),
    "negative size": ({"input_h": -32}, "-input_h"),
    "other channels": ({"input_c": 1}, "is 32x32x3; its channels cannot be changed"),
    "unknown objective": ({"objective": "speed"}, "-objective: unknown objective 'speed'"),
    "objective twice": ({"objective": ["params", "params"]}, "-objective: params and params are one cost; give one"),
    "two programs": ({"objective": ["command:a", "command:b"]}, "-objective: command:a and command:b are one cost"),
    "too many windows": (
        {"objective": ["params", "peak_memory"], "min_decrease_percent": [0, 1, 2]},
        "-min_decrease_percent: 3 numbers for 2 objectives; give one, or one for each",
    ),
    "window of one objective": ({"objective": ["params", "peak_memory"], "max_decrease_percent": [9, -1]}, "0 and -1"),
    "windows of FLOPs twice": (
        {"objective": ["params", "flops"], "max_decrease_percent": 9},
        "give one pair for FLOPs",
    ),
    "empty window": ({"min_flops_decrease_percent": 20, "max_flops_decrease_percent": 20}, "-min_flops"),
    "unwritable": ({"output_dir": "{tmp}/text.pkl"}, "-output_dir"),
    "missing flag": ({"model_family": None}, "-model_family"),
    "bad share": ({"segment_sparsity": 2}, "-segment_sparsity"),
    "missing database": ({"segment_database_path": "{tmp}/none.pkl"}, "none.pkl"),
    "missing encoder": ({"graph_encoder_path": "{tmp}/none.pkl"}, "none.pkl"),
    "no tokenizer": ({"tokenizer_path": "{tmp}/text.pkl"}, "text.pkl"),
    "no device": ({"device_str": "abacus"}, "-device_str"),
    "unknown solver": ({"milp_solver": "abacus"}, "abacus"),
}


@pytest.fixture
def odd_files(tmp_path):
    (tmp_path / "text.pkl").write_text("not a pickle")
    (tmp_path / "graph.txt").write_text("x")
    (tmp_path / "foreign.pkl").write_bytes(pickle.dumps(Foreign()))
    save_pickle({"a": 1}, tmp_path / "dict.pkl")
    return tmp_path


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line(odd_files, case):
    changes, named = BAD_INPUT[case]
    changes = {
        flag: value.format(tmp=odd_files) if isinstance(value, str) else value for flag, value in changes.items()
    }
    with pytest.raises(InputError) as caught:
        autogo.main(arguments(odd_files, **changes))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (odd_files / "out").exists()


def test_bad_input_from_the_shell(tmp_path):
    command = [sys.executable, "autogo.py", *arguments(tmp_path, model_path=tmp_path / "none.pkl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "out").exists()
