"""The table of docs/guarantees.md names tests that exist."""

import re
from pathlib import Path

import pytest

from tests.mutations.faults import FAULTS

HERE = Path(__file__).parent
ROOT = HERE.parent
REPORT = (ROOT / "docs" / "quality" / "mutations.md").read_text()
TEXT = (HERE.parent / "docs" / "guarantees.md").read_text()


def test_each_promise_is_shown_by_tests_that_exist():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 50
    for file, function in named:
        assert f"def {function}(" in (HERE / file).read_text(), (file, function)
    table = TEXT.split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    for row in rows:
        assert "`" in row.split("|")[2], row


def test_the_numbers_of_faults_are_right():
    assert f"in {len(FAULTS)} places" in TEXT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_each_fault_could_be_made_and_the_report_says_who_sees_it(fault):
    assert (ROOT / fault.file).read_text().count(fault.old) == 1
    file, _, function = fault.test.partition("::")
    assert f"def {function.partition('[')[0]}" in (ROOT / file).read_text()
    assert f"| {fault.what} | `{fault.file}` | `" in REPORT
