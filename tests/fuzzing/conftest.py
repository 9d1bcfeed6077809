"""How long is searched, and the process in which what may crash is run.

The suite makes few examples, the same in every run; ``pytest -m nightly`` makes many, other ones
every time, and prints how to repeat one that fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from benchmarks.damage.child import Child
from benchmarks.damage.damaged_bytes import KINDS, LARGEST, Damage

_COMMON = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", derandomize=True, max_examples=25, **_COMMON)
settings.register_profile("nightly", max_examples=600, print_blob=True, **_COMMON)

#: What happens to one file.
DAMAGES = st.lists(
    st.builds(
        Damage,
        kind=st.just("flip") | st.sampled_from(KINDS),
        at=st.integers(0, LARGEST - 1),
        length=st.integers(0, LARGEST - 1) | st.integers(0, LARGEST // 256),
        value=st.integers(1, 255),
        in_head=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Makes the tests of this folder nightly ones where those are asked for."""
    is_nightly = config.option.markexpr == "nightly"
    settings.load_profile("nightly" if is_nightly else "ci")
    for item in items:
        if is_nightly and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.nightly)


@pytest.fixture(scope="session")
def child() -> Iterator[Child]:
    with Child() as process:
        yield process
