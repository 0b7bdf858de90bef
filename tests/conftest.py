"""For the tests of the package: one thread, hypothesis that replays, and every test in two reference frames.

Elements keep their numbers in a frame of their space that nobody may read. So every test that makes spaces runs twice,
with the frame in which the starting basis is the identity and with a random one: code that looks at the frame is right
in the first and wrong in the second. A module that makes no spaces says `pytestmark = pytest.mark.no_gauge`.
"""

import os
from functools import lru_cache

import pytest
import torch
from hypothesis import HealthCheck, settings

from kfac_lite import spaces, testing

from .browsing import browser, server, site  # noqa: F401  (fixtures, for every module that opens pages)

torch.set_num_threads(1)

settings.register_profile(
    "default",
    deadline=None,
    max_examples=25,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@lru_cache
def random_frame(dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A function of the dimension alone, so that hypothesis can replay an example."""
    return testing.change(dimension, 10.0, torch.Generator().manual_seed(dimension + 1))


GAUGES = {"identity": spaces._frame, "random": random_frame}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "no_gauge: makes no spaces, so one reference frame is enough")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("no_gauge") is None:
        metafunc.parametrize("gauge", GAUGES, indirect=True)


@pytest.fixture(autouse=True)
def gauge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the reference frame in which this test runs."""
    name = getattr(request, "param", "identity")
    monkeypatch.setattr(spaces, "_frame", GAUGES[name])
    return name
