# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A local Census, for trying DAGs without an account.

In a test::

    from airflow_provider_census.sandbox import Sandbox

    with Sandbox(pace=0.1) as census:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", census.connection_uri)
        ...  # run the DAG
        assert [trigger.sync_id for trigger in census.triggers] == [52]

``census.connection_uri_v2`` leads to the same syncs and runs through API v2.

In a terminal: ``python -m airflow_provider_census.sandbox``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_census.sandbox.server import Sandbox

__all__ = ["Sandbox"]


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
