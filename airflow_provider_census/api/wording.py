# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What a person reads of syncs and their runs: names, numbers, times and reasons.

The important part comes first: Airflow shows about a hundred characters of a line. Texts of Census' are
cleaned and cut where they come in here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api.cleaning import one_line
from airflow_provider_census.api.responses import MAX_MESSAGE
from airflow_provider_census.api.sync_runs import count, time_range
from airflow_provider_census.api.syncs import source_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_census.api.sync_runs import Outcome
    from airflow_provider_census.api.types import SyncRunRecord
    from airflow_provider_census.exceptions import CensusError

MAX_NAME = 60
"""Characters that are shown of the name of a sync, or of what it reads or writes."""

TIMES = "\N{MULTIPLICATION SIGN}"

MAX_REASON = 300
"""Characters that are shown of the reason why a record was rejected."""

SHOWN_COUNTS = {"updated": "records_updated", "rejected": "records_failed", "invalid": "records_invalid"}
"""What the counts of a run are called in a message."""


def span(seconds: float) -> str:
    """Write a time span down, in its two largest units: ``45 s``, ``5 min 10 s``, ``2 h``, ``7 days``."""
    left = max(0, round(seconds))
    parts = []
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        parts.append(f"{number} {unit}" if number else "")
    first = next((index for index, part in enumerate(parts) if part), 3)
    shown = " ".join(filter(None, parts[first : first + 2])) or "0 s"
    return "1 day" + shown.removeprefix("1 days") if shown.startswith("1 days") else shown


def sync_name(sync: Mapping[str, Any] | None) -> str:
    """Name a sync by its label or what it reads, and where it writes: ``Users → braze``, or ``""``."""
    if sync is None:
        return ""
    read, written = (
        attributes if isinstance(attributes := sync.get(key), dict) else {}
        for key in ("source_attributes", "destination_attributes")
    )
    what = source_object(read)
    label = sync.get("label") or what.get("name") or what.get("model_name") or what.get("table_name")
    where = written.get("connection_slug") or written.get("object")
    where = where if isinstance(where, str) else None
    return " → ".join(one_line(part, MAX_NAME) for part in (label, where) if part)


def title(run: Mapping[str, Any], name: str = "") -> str:
    """
    Name a run and its sync: ``Users → braze (sync 52, run 94)``.

    :param name: the name of the sync, if it is known.
    """
    ids = one_line(f"sync {run.get('sync_id')}, run {run.get('id')}", 2 * MAX_NAME)
    return f"{name} ({ids})" if name else ids


def counts(run: Mapping[str, Any]) -> str:
    """Write the counts of a run down that are known: ``1000 updated, 0 rejected, 0 invalid``."""
    known = [f"{run[key]} {word}" for word, key in SHOWN_COUNTS.items() if run.get(key) is not None]
    return one_line(", ".join(known), 2 * MAX_NAME)


def duration(run: Mapping[str, Any]) -> str:
    """Tell how long a run took, or has taken when it was last heard of; ``""`` if that is unknown."""
    begin = time_range(run, "created_at")
    end = time_range(run, "completed_at") or time_range(run, "updated_at")
    return "" if begin is None or end is None or end[1] < begin[0] else span(end[0] - begin[0])


def took(run: Mapping[str, Any], ended: Outcome | None) -> str:
    """
    Tell how long a finished run took, as `` in 9 s`` or `` after 9 s``; ``""`` if that is unknown.

    :param ended: its outcome.
    """
    word = "in" if ended == "completed" else "after"
    return f" {word} {lasted}" if (lasted := duration(run)) else ""


def progress(run: Mapping[str, Any], now: float | None = None) -> str:
    """
    Describe how far a run is: ``40 %, 400 of 1000 records, for 2 min, about 3 min left, Sending``.

    :param now: the time, in seconds since the epoch; ``None`` to leave out what depends on it.
    """
    done, of = count(run, "records_processed"), count(run, "source_record_count")
    share = min(100, 100 * done // of) if of else 0
    parts = []
    if done and of:
        parts += [f"{share} %", f"{done} of {of} records"]
    elif done:
        parts.append(f"{done} records")
    begun = None if now is None else time_range(run, "created_at")
    if now is not None and begun is not None and now >= begun[0] + 1:
        elapsed = now - begun[0]
        parts.append(f"for {span(elapsed)}")
        if 5 <= share < 100 and elapsed > 20:
            parts.append(f"about {span(elapsed * (100 - share) / share)} left")
    parts.append(one_line(run.get("current_step") or run.get("status"), MAX_NAME))
    return ", ".join(parts)


def starter(run: Mapping[str, Any]) -> str:
    """Tell who or what started a run, in Census' words: ``Schedule``; ``""`` if that is unknown."""
    reason = run.get("sync_trigger_reason")
    tag = reason.get("ui_tag") if isinstance(reason, dict) else None
    return one_line(tag, MAX_NAME) if tag else ""


def other_run(run: Mapping[str, Any], now: float) -> str:
    """
    Describe a run that another one is blocked by: ``run 93, started 5 min ago by Schedule: 40 %, Sending``.

    Who or what started it stands in more words at the end, where Census has them.

    :param now: the time, in seconds since the epoch.
    """
    begun = time_range(run, "created_at")
    when = f" {span(now - begun[0])} ago" if begun is not None and now > begun[0] else ""
    by = f" by {starter(run)}" if starter(run) else ""
    started = f", started{when}{by}" if when or by else ""
    reason = run.get("sync_trigger_reason")
    detail = reason.get("ui_detail") if isinstance(reason, dict) else None
    who = f" ({one_line(detail, 2 * MAX_NAME)})" if detail else ""
    return f"run {one_line(run.get('id'), 50)}{started}: {progress(run)}{who}"


def trouble(error: CensusError) -> str:
    """Say what an outage is: ``Connection refused (GET /sync_runs/94) · connection 'census_default' (…)``."""
    where = f" · {error.connection}" if error.connection else ""
    return str(*error.args).rstrip(".") + where


def cause(run: Mapping[str, Any]) -> str:
    """Join Census' code, message and detail, each of which may be missing or repeat the other."""
    code, message, detail = (
        one_line(run[key], MAX_MESSAGE) if run.get(key) else ""
        for key in ("error_code", "error_message", "error_detail")
    )
    words = [code, message, "" if detail in message else detail]
    return (": ".join(word for word in words if word) or "Census gave no reason").rstrip(".")


def rejected_records(records: Iterable[SyncRunRecord], shown: int) -> list[str]:
    """
    Say which records were rejected, by reason: ``2 times INVALID_EMAIL: no address (a@b, c@d)``.

    Nothing of a record is shown but its identifier; what it holds is personal data.

    :param records: the records, as Census gave them.
    :param shown: identifiers at most, in all.
    """
    reasons: Counter[str] = Counter()
    identifiers: dict[str, list[str]] = {}
    for record in records:
        reason = one_line(
            record.get("status_message") or record.get("status") or "no reason given", MAX_REASON
        )
        reasons[reason] += 1
        if record.get("identifier") is not None:
            identifiers.setdefault(reason, []).append(one_line(record["identifier"], MAX_NAME))
    lines = []
    for reason, number in reasons.most_common(shown):
        share = identifiers.get(reason, [])[: max(1, shown // len(reasons))]
        more = ", …" if share and number > len(share) else ""
        lines.append(f"{number} {TIMES} {reason}" + (f" ({', '.join(share)}{more})" if share else ""))
    return lines
