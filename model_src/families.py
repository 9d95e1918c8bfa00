"""The families of networks: all that is known of a family by its name stands in its row of one table.

To add a family, write a module that samples and builds its networks (`model_src/search_space/__init__.py` says what it
has) and add a row to FAMILIES. Modules are named here and imported where they are used.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NamedTuple, TypeVar

from constants import OPS
from model_src.files import InputError

REGISTERED_IN = "model_src/families.py"
DEFAULT_FAMILIES = "hiaml+two_path+nb201+nb101_5k+inception"  # of the shipped vocabulary, database and predictors

T = TypeVar("T")


class Subset(NamedTuple):
    """Where the networks of a family that is part of a larger one can be picked.

    Attributes:
        cache: File of all networks of the larger family.
        names: File that lists the names of the networks to pick.
    """

    cache: str
    names: str


@dataclass(frozen=True)
class Family:
    """A family by any of its names; one without a module has operations and no networks of its own.

    Attributes:
        name: In encoders, segment databases and checkpoints, and in flags.
        operations: Names of the operations that a mutation may take out of its networks and put into them.
        aliases: Other names in flags.
        abbreviation: In the names of vocabularies, caches and results.
        module: What samples and builds its networks.
        network_name: First part of the names of networks that are numbered.
        cache: File of its networks with their accuracies.
        subset: Where else they can be picked.
        label_key: What others call its networks in tables of accuracies.
        label_package: PyPI package that has such a table.
    """

    name: str
    operations: frozenset[str]
    aliases: tuple[str, ...] = ()
    abbreviation: str = ""
    module: str = ""
    network_name: str = ""
    cache: str = ""
    subset: Subset | None = None
    label_key: str = ""
    label_package: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All its names in flags."""
        return self.name, *self.aliases

    def load(self) -> ModuleType:
        """Import its module.

        Raises:
            InputError: There is no such module.
        """
        try:
            return import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self.module}.".startswith(f"{error.name}."):
                raise  # the module is there and imports one that is not
            raise InputError(f"family {self.name}: no module {self.module}, which {REGISTERED_IN} names") from error


def table(*rows: Family) -> tuple[Family, ...]:
    """Check rows against each other.

    Raises:
        ValueError: Two of them share a name, an abbreviation or a cache, or one with a module lacks something.
    """
    for what in ("names", "abbreviation", "cache"):
        found = (getattr(row, what) for row in rows)
        counts = Counter(name for entry in found for name in ((entry,) if isinstance(entry, str) else entry) if name)
        for name, count in counts.items():
            if count > 1:
                raise ValueError(f"{REGISTERED_IN}: {count} families have {name!r} as {what}")
    for row in rows:
        missing = [what for what in ("abbreviation", "cache") if row.module and not getattr(row, what)]
        if missing:
            raise ValueError(f"{REGISTERED_IN}: family {row.name} has a module and no {', '.join(missing)}")
    return rows


# In the order in which networks go into a segment database: it decides the order of equal segments.
FAMILIES = table(
    Family(
        name="hiaml",
        operations=OPS["hiaml"],
        abbreviation="h",
        module="model_src.search_space.hiaml",
        network_name="HiAMLNet",
        cache="gpi_test_hiaml_cifar10_labelled_cg_data.json",
    ),
    Family(
        name="inception",
        operations=OPS["inception"],
        abbreviation="i",
        module="model_src.search_space.inception",
        network_name="InceptionNet",
        cache="inception_cifar10_labelled_cg_data.json",
    ),
    Family(
        name="two_path",
        operations=OPS["two_path"],
        abbreviation="t",
        module="model_src.search_space.two_path",
        network_name="TwoPathNet",
        cache="gpi_test_two_path_cifar10_labelled_cg_data.json",
    ),
    Family(
        name="nb101_5k",
        aliases=("nb101",),  # the published subset stands for all of NAS-Bench-101
        operations=OPS["nb101"],
        abbreviation="n15",
        module="model_src.search_space.nb101",
        network_name="NB101-Net",
        cache="gpi_nb101_5k_comp_graph_cache.pkl",
        subset=Subset("gpi_nb101_comp_graph_cache.pkl", "nb101_5k_name_list.pkl"),
        label_key="NAS-Bench-101 cell hash",
    ),
    Family(
        name="nb201",
        aliases=("nb201c10",),
        operations=OPS["nb201"],
        abbreviation="n2",
        module="model_src.search_space.nb201",
        cache="gpi_nb201c10_comp_graph_cache.pkl",
        label_key="NAS-Bench-201 architecture string",
        label_package="analog-nasbench",
    ),
    Family(name="generic", operations=OPS["generic"]),
    Family(name="generic_noDW", operations=OPS["generic_noDW"]),
    Family(name="edsr", operations=OPS["edsr"]),
)


def with_networks() -> tuple[Family, ...]:
    """The families that have networks of their own, in database order."""
    return tuple(row for row in FAMILIES if row.module)


def all_names(rows: Iterable[Family] | None = None) -> list[str]:
    """Every name of some families or of all, sorted, as flags take them."""
    return sorted(name for row in (FAMILIES if rows is None else rows) for name in row.names)


def label_keys() -> str:
    """What others call the networks of families in tables of accuracies, for texts."""
    return ", ".join(row.label_key for row in FAMILIES if row.label_key)


def label_packages() -> list[str]:
    """The packages that have accuracies of families, sorted."""
    return sorted({row.label_package for row in FAMILIES if row.label_package})


def known_families() -> str:
    """The names of all families with networks, for texts."""
    return ", ".join(all_names(with_networks()))


def find(name: str, rows: Sequence[Family] | None = None) -> Family:
    """The family of a name.

    Args:
        name: Any of its names.
        rows: Families that may be meant; all of them if not given.

    Raises:
        InputError: There is none.
    """
    rows = FAMILIES if rows is None else rows
    for row in rows:
        if name in row.names:
            return row
    known = ", ".join(all_names(rows))
    raise InputError(f"unknown family {name!r}; known are {known} (families are registered in {REGISTERED_IN})")


def parse_families(text: str) -> tuple[str, ...]:
    """Read names of families with networks, joined with `+`: no repeats, sorted, aliases resolved.

    Raises:
        InputError: A name is not one of them.
    """
    names = [name.strip() for name in text.split("+") if name.strip()] or [text]
    return tuple(sorted({find(name, with_networks()).name for name in names}))


def parse_family(text: str, flag: str) -> str:
    """Read the name of one family with networks, see `parse_families`.

    Raises:
        InputError: There is no such family, or there are several.
    """
    names = parse_families(text)
    if len(names) != 1:
        raise InputError(f"{flag} {text}: give one family")
    return names[0]


def abbreviation(names: str | Iterable[str]) -> str:
    """Abbreviate a set of families as file names do: `hiaml+two_path` -> `h+t`.

    Raises:
        InputError: A name is not one of a family with networks.
    """
    families = parse_families(names if isinstance(names, str) else "+".join(names))
    return "+".join(find(name).abbreviation for name in families)


def in_database_order(names: Iterable[str]) -> tuple[str, ...]:
    """Families sorted as their networks go into a segment database.

    Raises:
        InputError: A name is unknown.
    """
    return tuple(sorted(names, key=lambda name: FAMILIES.index(find(name))))


def entry_of(entries: Mapping[str, T], family: str) -> T | None:
    """What a table by family has under any name of a family; None where there is nothing."""
    names = next((row.names for row in FAMILIES if family in row.names), (family,))
    return next((entry for name, entry in entries.items() if name in names), None)
