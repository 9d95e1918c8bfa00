"""Tables are read back as they were written; what is none is refused."""

import pytest

from model_src.csv_tables import load_rows, save_rows
from model_src.files import InputError


def test_tables_are_read_back(tmp_path):
    rows = [{"a": "1", "b": "x, y"}, {"a": "", "b": 'a "b"'}]
    save_rows(rows, tmp_path / "table.csv")
    assert load_rows(tmp_path / "table.csv") == rows


@pytest.mark.parametrize("text", ["a,b\n1\n", "a\n1,2\n", 'a\n"1" 2\n', 'a\n"1\n', "a,b,a\n1,2,3\n"])
def test_what_is_no_table_is_refused(tmp_path, text):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=r"table\.csv: (not a table|line 2: not as many|has two columns a)"):
        load_rows(tmp_path / "table.csv")
    with pytest.raises(InputError, match=r"none\.csv: No such file"):
        load_rows(tmp_path / "none.csv")
