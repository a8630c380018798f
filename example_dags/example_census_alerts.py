# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Alert Slack and e-mail when a sync failed

`on_failure_callback` takes the notifiers of Airflow's own providers. The error of a sync run names the run,
Census' reason, the counts and the address of the run in Census, so an alert needs little more than that.

A callback runs after the last try; `on_retry_callback` reports the tries before.

**Needs** the connections `census_default`, `slack_default` (Slack Incoming Webhook) and `smtp_default` (SMTP,
with a from_email).
"""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

# If the worker died, there may be no exception.
SUBJECT = "{{ ti.task_id }} of {{ ti.dag_id }} failed"
WHY = "{{ exception | default('The worker is gone.', true) | e }}"
LOG = "{{ ti.log_url }}"

log = logging.getLogger(__name__)

try:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier
except ImportError as missing:
    log.warning("Left out, for it needs apache-airflow-providers-slack and -smtp: %s", missing)
else:
    with DAG(
        dag_id="census_alerts",
        schedule=None,
        default_args={
            "on_failure_callback": [
                SlackWebhookNotifier(text=f"*{SUBJECT}*\n{WHY}\n<{LOG}|Log>"),
                SmtpNotifier(
                    to="data-team@example.com",
                    subject=SUBJECT,
                    html_content=f'<p>{WHY}</p><p><a href="{LOG}">Log</a></p>',
                ),
            ]
        },
        doc_md=__doc__,
        tags=["census", "example"],
    ):
        CensusTriggerSyncOperator(
            task_id="sync",
            sync_id=68,
            wait_for_completion=True,
            retries=1,
            retry_delay=timedelta(minutes=5),
            max_records_failed=10,
        )
