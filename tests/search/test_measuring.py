from functools import partial

import pytest

torch = pytest.importorskip("torch")

from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.files import InputError, save_pickle  # noqa: E402
from model_src.search.feedback import ToMeasure  # noqa: E402
from model_src.search.measuring import Trainings, read_measured  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.labels import Measurement  # noqa: E402
from model_src.training.recipe import Execution, FastConfig  # noqa: E402
from tests.training.conftest import cifar_folder, classifier, in_this_process  # noqa: E402, F401

pytestmark = pytest.mark.usefixtures("in_this_process")


def write(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("accuracies", [("0.93", "0.5"), ("93", "50.0")])
def test_a_table_has_hashes_and_fractions_or_percent(tmp_path, accuracies):
    first, second = accuracies
    path = write(tmp_path, f"rank,hash,measured\ninput,aa,{first}\n0,bb,\n1,cc,{second}\n")
    found = read_measured(path)
    assert [(one.identity, one.accuracy, one.graph, one.n_swaps) for one in found] == [
        ("aa", pytest.approx(0.93), None, 0),
        ("cc", pytest.approx(0.5), None, 0),
    ]


def test_networks_are_loaded_from_beside_the_table(tmp_path):
    save_pickle(classifier(8), tmp_path / "rank_0.pkl")
    (found,) = read_measured(write(tmp_path, "file,hash,swaps,measured\nrank_0.pkl,aa,3,0.5\n"))
    assert found.n_swaps == 3
    assert canonical_hash(found.graph) == canonical_hash(classifier(8))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "table.csv: has no column hash and no column measured"),
        ("hash,accuracy\na,0.5\n", "table.csv: has no column measured"),
        ("hash,measured\na,0.5\nb,good\n", "table.csv: line 3: 'good' is no accuracy"),
        ("hash,measured\na,101\n", "table.csv: line 2: '101' is no accuracy"),
        ("hash,measured\na,nan\n", "table.csv: line 2: 'nan' is no accuracy"),
        ("hash,measured,swaps\na,0.5,many\n", "table.csv: line 2: 'many' is no number of swaps"),
        (f"hash,measured,swaps\na,0.5,{'9' * 5000}\n", "is no number of swaps"),
        ("hash,measured,measured\na,0.5,0.6\n", "table.csv: has two columns measured"),
        ("hash,measured\na\n", "table.csv: line 2: not as many cells"),
        ("hash,measured,file\na,0.5,gone.pkl\n", "gone.pkl"),
        (b"hash,measured\n\xff\xfe,0.5\n", "table.csv: "),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_measured(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: No such file"):
        read_measured(tmp_path / "none.csv")


def test_trainings_give_accuracies_of_held_out_images_and_are_not_repeated(tmp_path, cifar_folder, monkeypatch):  # noqa: F811
    recipe = FastConfig(epochs=1, batch_size=50, held_out=10)
    trainings = Trainings(
        Measurement(recipe, images=partial(load_cifar10, cifar_folder), how=Execution("cpu")), tmp_path / "measured.csv"
    )
    networks = {
        "a": ToMeasure(classifier(4)),
        "b": ToMeasure(classifier(8)),
        "bad": ToMeasure(classifier(6, n_classes=4)),
    }
    found = dict(trainings(networks))
    assert found.keys() == networks.keys()
    assert found["bad"] is None
    assert {round(10 * found[name], 9) % 1 for name in "ab"} == {0}  # of ten images
    monkeypatch.setattr("model_src.training.loop.train_network", None)
    assert dict(trainings(networks)) == found
    assert dict(trainings({"a": ToMeasure(classifier(4))})) == {"a": found["a"]}
