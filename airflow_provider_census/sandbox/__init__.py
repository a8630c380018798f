# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A local Census, for trying and testing DAGs without an account.

In a test, with the fixture of the pytest plugin that comes with it::

    from airflow_provider_census.sandbox import completes, fails

    def test_nightly(census_sandbox):
        census_sandbox.add_sync(90210, [fails("RATE_LIMIT"), completes(records=20)])
        ...  # run the DAG
        assert [trigger.sync_id for trigger in census_sandbox.triggers] == [90210, 90210]

or as a context manager, ``with Sandbox(syncs={90210: fails()}) as census:``.
``connection_uri`` leads to it through API v2, ``connection_uri_v1`` to the same syncs and runs through v1.

In a terminal: ``python -m airflow_provider_census.sandbox``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_census.sandbox.outcomes import (
    Outcome,
    cancelled,
    completes,
    fails,
    never_ends,
    rejects,
    runs_for,
    skipped,
)

if TYPE_CHECKING:
    from airflow_provider_census.sandbox.server import Sandbox

__all__ = [
    "Outcome",
    "Sandbox",
    "cancelled",
    "completes",
    "fails",
    "never_ends",
    "rejects",
    "runs_for",
    "skipped",
]


def __getattr__(name: str) -> Any:
    # Late, so that `python -m` can say in one sentence which extra is missing.
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from airflow_provider_census.sandbox.server import Sandbox
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"The Census sandbox needs {missing.name}: pip install 'airflow-provider-census[sandbox]'",
            name=missing.name,
        ) from missing
    return Sandbox
