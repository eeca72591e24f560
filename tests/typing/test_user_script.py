"""What is type-checked as a user's script runs, too."""

import runpy


def test_the_script_of_a_user_runs():
    assert runpy.run_module("tests.typing.user_script")["keyed"].shape == (2, 8)
