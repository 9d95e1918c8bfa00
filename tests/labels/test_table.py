import gzip

import pytest

from constants import ROOT
from model_src.files import InputError
from model_src.labels.table import (
    ESTIMATED_COLUMNS,
    MEASURED_COLUMNS,
    LabelRow,
    read_label_table,
    read_rows,
    write_label_table,
)


def table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def test_percent_and_fractions(tmp_path):
    assert read_label_table(table(tmp_path, "key,accuracy\na,91.5\nb,0.5\n")) == {"a": 0.915, "b": 0.005}
    assert read_label_table(table(tmp_path, "key,accuracy\na,0.915\n\nb,1\n")) == {"a": 0.915, "b": 1}


def test_the_last_accuracy_column_counts(tmp_path):
    assert read_label_table(table(tmp_path, "key,val_acc_4,val_acc_108,parameters\na,0.1,0.9,77\n")) == {"a": 0.9}


def test_gzipped_tables(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"key,test_accuracy_percent\na,90\n"))
    assert read_label_table(path) == {"a": 0.9}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs a header"),
        ("a,0.9\nb,0.8\n", "needs a header"),
        ("key,acc\n", "has no rows"),
        ("key,acc\na,0.9\nb\n", "line 3: no accuracy"),
        ("key,acc\na,high\n", "line 2: no accuracy"),
        ("key,acc\na,nan\n", "line 2: no accuracy"),
        ("key,acc\na,101\n", "line 2: no accuracy"),
        ("key,acc,acc\na,90,91\n", "has two columns acc"),
        ("config_hash,source,acc,config_hash\na,train,90,b\n", "has two columns config_hash"),
        ("key,acc\na,90\nb,80\na,91\n", "line 4: a second accuracy for a"),
    ],
)
def test_unusable_tables(tmp_path, text, reason):
    with pytest.raises(InputError, match=f"table.csv.*{reason}"):
        read_label_table(table(tmp_path, text))


def test_tables_of_ours(tmp_path):
    path = tmp_path / "labels" / "hiaml.csv"
    rows = [LabelRow("a" * 16, "b" * 32, 0.91234567, "teacher", None, 7), LabelRow("c", "d", 0.5, "teacher", None, 1)]
    write_label_table(path, rows)
    assert path.read_text() == (
        "config_hash,graph_hash,accuracy,source,epochs,seed\n"
        f"{'a' * 16},{'b' * 32},0.912346,teacher,,7\n"
        "c,d,0.500000,teacher,,1\n"
    )
    assert read_label_table(path) == {"a" * 16: 0.912346, "c": 0.5}


def test_shipped_tables_are_read_and_written_byte_by_byte(tmp_path):
    for path in sorted((ROOT / "data" / "labels").glob("*.csv")):
        rows = read_rows(path)
        assert [row.accuracy is None for row in rows] == [bool(row.failure) for row in rows]
        columns = tuple(path.read_text().partition("\n")[0].split(","))
        assert columns in (MEASURED_COLUMNS, ESTIMATED_COLUMNS)
        write_label_table(tmp_path / path.name, rows, columns)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


MEASURED = "config_hash,accuracy,source,epochs,seed,images,failure\n"


def test_accuracies_are_averaged_over_seeds_without_failures(tmp_path):
    rows = (
        "a,0.5,train,8,0,100,\na,0.5,train,8,0,100,\na,0.7,train,8,1,100,\na,,train,8,2,100,NaN\nb,,train,8,0,100,NaN\n"
    )
    assert read_label_table(table(tmp_path, MEASURED + rows)) == {"a": pytest.approx(0.6)}


@pytest.mark.parametrize("other", ["b,0.9,teacher,8,0,100,", "b,0.9,train,9,0,100,", "b,0.9,train,8,0,200,"])
def test_accuracies_of_different_levels_are_not_mixed(tmp_path, other):
    with pytest.raises(InputError, match=r"table.csv, line 3: .* which differ in level"):
        read_label_table(table(tmp_path, f"{MEASURED}a,0.5,train,8,0,100,\n{other}\n"))


def test_epochs_of_foreign_tables_may_differ(tmp_path):
    assert read_label_table(table(tmp_path, "key,epochs,acc\na,4,0.5\nb,108,0.9\n")) == {"a": 0.5, "b": 0.9}


def test_an_interrupted_table_is_not_written(tmp_path):
    def rows():
        yield LabelRow("a", "b", 0.9, "train", 1, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_label_table(tmp_path / "hiaml.csv", rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", gzip.compress(b"key,acc\na,0.9\n", mtime=0)[:-9], b"key,acc\n"])
def test_damaged_gzip(tmp_path, content):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.csv\.gz"):
        read_label_table(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv: No such file"):
        read_label_table(tmp_path / "nowhere.csv")
