"""Our numbers against those that the published code gave, on every graph for which there are any."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from tests.conformance.cases import Case, read_cases


@pytest.fixture(scope="session")
def cases(reference) -> list[Case]:
    found = read_cases(reference)
    assert len(found) == 52
    return found


@pytest.fixture
def agreement(record_property):
    """Compare a subject: name of the case -> whether it agrees; all must but the explained ones."""

    def check(subject: str, outcomes: Mapping[Any, bool], explained: Collection[Any] = ()) -> None:
        different = [name for name, agrees in outcomes.items() if not agrees]
        record_property("agreement", (subject, len(outcomes) - len(different), len(outcomes)))
        assert different == list(explained)

    return check
