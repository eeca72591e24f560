"""A plugin: ``python -m pytest -p tests.raising`` runs tests under ``np.seterr(all="raise")``."""

import numpy as np


def pytest_configure():
    np.seterr(all="raise")
