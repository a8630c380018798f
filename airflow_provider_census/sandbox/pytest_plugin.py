# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The fixture ``census_sandbox``, for the tests of DAGs; pytest finds it by itself.

It costs a test run nothing that does not use it: neither Airflow nor the server is imported before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_census.sandbox import Sandbox

PACE = 0.001


@pytest.fixture
def census_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """
    A local Census behind the Airflow connection ``census_default``.

    Every sync that is asked for by its id is there, and its runs complete; ``census_sandbox.add_sync`` says
    otherwise. What takes a second in Census takes a millisecond.
    """
    from airflow_provider_census.sandbox import Sandbox

    with Sandbox(syncs={}, pace=PACE) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri)
        yield sandbox
