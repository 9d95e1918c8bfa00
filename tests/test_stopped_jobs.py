"""Scripts that were stopped on their way: the same command ends with the same bytes."""

import pytest

import gen_DB
import gen_families
import run_psc_segment
from model_src import kept
from model_src.encoder.paths import vocabulary_files
from model_src.family_data import family_path
from model_src.files import InputError
from tests.predictor.helpers import make_checkpoint
from tests.test_run_psc_segment import VOCABULARY, make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with the networks of a family, and the flags that name it."""
    folder = tmp_path_factory.mktemp("jobs")
    return folder, make_workspace(folder)


def families(workspace, folder):
    files = vocabulary_files("nb201", "shp", 120, workspace[0])
    checkpoint = workspace[0] / "teacher.pt"
    make_checkpoint("PSC_predictor").save(checkpoint)
    teacher = ["-label", "teacher", "-teacher_path", checkpoint, "-encoder_path", files.encoder]
    output = family_path("nb201", folder)
    flags = ["-family", "nb201", "-num", "40", *teacher, "-tokenizer_path", files.model, "-output", output]
    return gen_families, [*map(str, flags), "-save_labels", str(folder / "labels.csv")]


def database(workspace, folder):
    files = vocabulary_files("nb201", "shp", 120, workspace[0])
    named = ["-encoder_path", files.encoder, "-tokenizer_path", files.model, "-data_dir", workspace[0]]
    return gen_DB, [*map(str, named), "-families", "nb201", "-output", str(folder / "db.pkl")]


def splits(workspace, folder):
    flags = ["-data_family", "nb201", *VOCABULARY, *workspace[1][:-1], str(folder)]
    return run_psc_segment, flags


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("job", [families, database, splits])
def test_a_stopped_job_ends_with_the_same_bytes(workspace, tmp_path, monkeypatch, job):
    monkeypatch.setattr(kept, "MOST_PIECES", 2)
    script, flags = job(workspace, tmp_path / "whole")
    script.main(flags)
    get, calls = kept.Kept.get, []

    def stop(self, compute):
        calls.append(compute)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return get(self, compute)

    script, flags = job(workspace, tmp_path / "stopped")
    monkeypatch.setattr(kept.Kept, "get", stop)
    with pytest.raises(KeyboardInterrupt):
        script.main(flags)
    assert any(name.endswith(".json.gz") for name in contents(tmp_path / "stopped"))
    if script is gen_families:
        with pytest.raises(InputError, match="-seed: a stopped run had"):
            script.main([*flags, "-seed", "1"])
    script.main(flags)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
