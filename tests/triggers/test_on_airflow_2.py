# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What becomes of the event trigger on an Airflow that has none."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_census.triggers.census import CensusSyncRunEventTrigger


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 has event triggers")
def test_it_is_imported_and_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="needs Airflow 3"):
        CensusSyncRunEventTrigger(52)
