import pytest

from model_src.files import InputError
from model_src.labels.measured import Budget, MeasuredTable
from model_src.labels.table import TRAIN, LabelRow

BUDGET = Budget(epochs=8, images=25_000, batch_size=256)
HEADER = (
    "config_hash,graph_hash,accuracy,source,epochs,seed,loss,images,batch_size,seconds,device,failure,recipe,held_out\n"
)


def row(graph_hash, seed, accuracy=0.5, **fields):
    return LabelRow("c" * 16, graph_hash, accuracy, TRAIN, seed=seed, **{**BUDGET._asdict(), **fields})


def test_rows_are_on_the_disk_at_once_and_read_back(tmp_path):
    path = tmp_path / "new" / "hiaml_measured.csv"
    table = MeasuredTable(path, BUDGET)
    measured = {"loss": 1.25, "seconds": 12.5, "device": "NVIDIA X, 80 GB"}
    for one in (row("a", 0, 0.71, **measured), row("b", 0, None, failure="NaN, here")):
        table.append(one)
        assert MeasuredTable(path, BUDGET).rows == table.rows
    assert path.read_text() == (
        f'{HEADER}{"c" * 16},a,0.710000,train,8,0,1.25,25000,256,12.5,"NVIDIA X, 80 GB",,published,\n'
        f'{"c" * 16},b,,train,8,0,,25000,256,,,"NaN, here",published,\n'
    )


def test_failures_are_in_the_table_too(tmp_path):
    table = MeasuredTable(tmp_path / "t.csv", BUDGET)
    for one in (row("a", 0, 0.5), row("a", 1, 0.7), row("a", 2, None, failure="x"), row("b", 0, None, failure="x")):
        table.append(one)
    assert table.has("a", 2)
    assert table.has("b", 0)
    assert not table.has("b", 1)


def test_a_line_that_was_cut_short_is_dropped(tmp_path):
    path = tmp_path / "t.csv"
    table = MeasuredTable(path, BUDGET)
    table.append(row("a", 0))
    whole = path.read_text()
    for cut in (f"{'c' * 16},b,0.9", "c"):
        path.write_text(whole + cut)
        assert MeasuredTable(path, BUDGET).rows == table.rows
        assert path.read_text() == whole
    path.write_text(HEADER)
    MeasuredTable(path, BUDGET).append(row("a", 0))
    assert path.read_text() == whole
    path.write_text(HEADER[:20])
    MeasuredTable(path, BUDGET).append(row("a", 0))
    assert path.read_text() == whole


@pytest.mark.parametrize("other", [{"epochs": 9}, {"images": 10}, {"batch_size": 1}, {"recipe": "fast"}])
def test_other_budgets_are_refused(tmp_path, other):
    path = tmp_path / "t.csv"
    MeasuredTable(path, BUDGET).append(row("a", 0))
    with pytest.raises(InputError, match=r"t\.csv: its rows are of 8 epochs .* name another file by -save_labels"):
        MeasuredTable(path, BUDGET._replace(**other))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("config_hash,graph_hash,accuracy,source,epochs,seed\na,b,0.9,teacher,,7\n", "not a table of measured labels"),
        (f"{HEADER}a,b,0.9\n", "line 2: 3 cells in a table of 14 columns"),
        (f"{HEADER}a,b,high,train,8,0,1,25000,256,1,cpu,,published,\n", "line 2: no accuracy in column accuracy"),
        (f"{HEADER}a,b,0.5,train,many,0,1,25000,256,1,cpu,,published,\n", "line 2: no number in column epochs"),
        (f"{HEADER}a,b,0.5,train,,0,1,25000,256,1,cpu,,published,\n", "its rows are of 0 epochs"),
        (f"{HEADER}a,b,0.5,teacher,8,0,1,25000,256,1,cpu,,published,\n", "its rows are of"),
        (b"\xff\xfe\n", "t.csv"),
    ],
)
def test_other_tables_are_refused_and_stay(tmp_path, content, reason):
    path = tmp_path / "t.csv"
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        MeasuredTable(path, BUDGET)
    assert path.read_bytes() == content


def test_a_table_of_version_0_1_gets_the_new_columns(tmp_path):
    path = tmp_path / "t.csv"
    MeasuredTable(path, BUDGET).append(row("a", 0))
    new = path.read_text()
    path.write_text("".join(f"{line.rsplit(',', 2)[0]}\n" for line in new.splitlines()))
    assert path.read_text().splitlines()[0].endswith(",failure")
    assert MeasuredTable(path, BUDGET).rows == [row("a", 0)]
    assert path.read_text() == new
