"""The services, started once for all slow tests that need them."""

from collections.abc import Iterator

import pytest

from tests.helpers.served import Server, serve


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A clone of this tree with its services on free ports."""
    with serve(tmp_path_factory.mktemp("served")) as begun:
        yield begun
