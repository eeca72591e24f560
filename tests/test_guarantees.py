"""The table of docs/guarantees.md names tests that exist."""

import re
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE.parent / "docs" / "guarantees.md").read_text()


def test_each_promise_is_shown_by_tests_that_exist():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 50
    for file, function in named:
        assert f"def {function}(" in (HERE / file).read_text(), (file, function)
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")][1:]
    for row in rows:
        assert "`" in row.split("|")[2], row


def test_the_numbers_of_faults_are_right():
    from tests.mutations.faults import FAULTS

    assert f"in {len(FAULTS)} places" in TEXT
