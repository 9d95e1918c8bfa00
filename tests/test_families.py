import subprocess
import sys
from dataclasses import replace

import pytest

from constants import OPS, ROOT
from model_src import families
from model_src.families import (
    FAMILIES,
    Family,
    abbreviation,
    all_names,
    entry_of,
    find,
    in_database_order,
    parse_families,
    parse_family,
    table,
    with_networks,
)
from model_src.files import InputError


def test_names_and_files_are_the_published_ones():
    assert {row.name: (row.abbreviation, row.cache) for row in with_networks()} == {
        "hiaml": ("h", "gpi_test_hiaml_cifar10_labelled_cg_data.json"),
        "inception": ("i", "inception_cifar10_labelled_cg_data.json"),
        "two_path": ("t", "gpi_test_two_path_cifar10_labelled_cg_data.json"),
        "nb101_5k": ("n15", "gpi_nb101_5k_comp_graph_cache.pkl"),
        "nb201": ("n2", "gpi_nb201c10_comp_graph_cache.pkl"),
    }
    assert find("nb101").subset == ("gpi_nb101_comp_graph_cache.pkl", "nb101_5k_name_list.pkl")
    assert all_names(with_networks()) == ["hiaml", "inception", "nb101", "nb101_5k", "nb201", "nb201c10", "two_path"]


def test_every_set_of_operations_belongs_to_a_family():
    assert all(find(name).operations is operations for name, operations in OPS.items())
    assert len(FAMILIES) == len(OPS)


def test_families_are_sorted_and_aliases_are_one_family():
    assert parse_families("two_path+nb101+nb201c10+nb101_5k") == ("nb101_5k", "nb201", "two_path")
    assert abbreviation("nb201+hiaml+nb201c10") == "h+n2"
    assert abbreviation(["two_path", "hiaml"]) == "h+t"


def test_a_database_has_an_order_of_its_own():
    assert in_database_order(["nb201", "nb101_5k", "two_path", "inception", "hiaml"]) == (
        *("hiaml", "inception", "two_path", "nb101_5k", "nb201"),
    )


@pytest.mark.parametrize("text", ["", "hiaml+nb301", "hiaml,nb201", "hiaml+generic"])
def test_unknown_families_say_where_families_are_registered(text):
    with pytest.raises(
        InputError, match=r"unknown family .* hiaml, .*, two_path \(.* registered in model_src/families.py"
    ):
        parse_families(text)


def test_one_family():
    assert parse_family("nb101", "-data_family") == "nb101_5k"
    with pytest.raises(InputError, match=r"-data_family nb201\+hiaml: give one family"):
        parse_family("nb201+hiaml", "-data_family")


@pytest.mark.parametrize(
    ("family", "entry"), [("nb101", 1), ("nb101_5k", 1), ("nb201", 2), ("foreign", 3), ("hiaml", None)]
)
def test_entries_are_found_by_any_name(family, entry):
    assert entry_of({"nb101_5k": 1, "nb201c10": 2, "foreign": 3}, family) == entry


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "nb101"}, "2 families have 'nb101' as names"),
        ({"abbreviation": "h"}, "2 families have 'h' as abbreviation"),
        ({"cache": find("hiaml").cache}, "2 families have 'gpi_test_hiaml.* as cache"),
        ({"abbreviation": "", "cache": ""}, "family toy has a module and no abbreviation, cache"),
    ],
)
def test_rows_must_differ_and_be_complete(changes, reason):
    toy = Family("toy", OPS["generic"], abbreviation="x", module="toy", cache="toy.json")
    assert table(*FAMILIES, toy)[-1] is toy
    with pytest.raises(ValueError, match=reason):
        table(*FAMILIES, replace(toy, **changes))


def test_modules_are_imported_on_use():
    code = "import sys, model_src.families; print([name for name in sys.modules if name.startswith('model_src.s')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert all(hasattr(row.load(), "sample") for row in with_networks())


def test_a_missing_module_is_named(tmp_path, monkeypatch):
    toy = Family("toy", OPS["generic"], abbreviation="x", module="no.such", cache="toy.json")
    with pytest.raises(InputError, match=r"family toy: no module no\.such, which model_src/families\.py names"):
        toy.load()
    (tmp_path / "faulty_family.py").write_text("import no_such_thing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        replace(toy, module="faulty_family").load()
    monkeypatch.setattr(families, "FAMILIES", table(*FAMILIES, replace(toy, module="json")))
    from model_src.search_space.sampling import space_of

    with pytest.raises(InputError, match="family toy: json has no function sample"):
        space_of("toy")
