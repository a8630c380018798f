# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The commands ``airflow census …``; every ``airflow`` command imports this, so it imports nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping

    from airflow.cli.cli_config import CLICommand

    from airflow_provider_census.hooks.census import CensusHook

COLUMNS = (
    "id",
    "status",
    "canceled",
    "created_at",
    "completed_at",
    "records_processed",
    "records_updated",
    "records_failed",
    "records_invalid",
)
"""What is shown of a run in a list, besides what :func:`_in_words` says; all of it if it is alone."""

NEWEST = 25
"""How many runs a list shows, which is as many as Census sends at a time."""

REGIONS = {"app.getcensus.com": "US", "app-eu.getcensus.com": "EU"}
"""The regions that the vendor names a host of."""

FILTERS = {
    "label": "Label, with wildcards, such as 'Nightly*'",
    "table": "Table that the sync reads, such as marts.customers or 'marts.*'",
    "model": "Name of the model that it reads, with wildcards",
    "dataset": "Name of the dataset that it reads, with wildcards",
    "source": "Id, slug, name or label of the source",
    "destination": "Id, slug, name or label of the destination",
}
"""By what ``syncs`` selects, with the help on each."""

EXIT_CODES = {"completed": 0, "failed": 3, "canceled": 4, "skipped": 5}
"""How a run ended that was waited for; 1 is an error, 2 a command line that makes no sense."""

Row = dict[str, Any]


def get_census_cli_commands() -> list[CLICommand]:
    """Describe the commands to Airflow."""
    from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ActionCommand, Arg, GroupCommand

    conn_id = Arg(
        ("--conn-id",),
        help="Id of the Airflow connection (default: census_default)",
        default="census_default",
    )
    sync = Arg(("sync",), metavar="SYNC", help="Id of the sync, or its label, exactly")
    run = Arg(("run",), metavar="RUN", help="Id of the sync run")
    full = Arg(
        ("--force-full-sync",), help="Sync all records instead of the changed ones", action="store_true"
    )
    wait = Arg(
        ("--wait",),
        help="Wait for the end of the run; the exit code says how it ended: "
        + ", ".join(f"{code} {outcome}" for outcome, code in EXIT_CODES.items()),
        action="store_true",
    )
    filters = tuple(
        Arg((f"--{name}",), metavar=name.upper(), help=described) for name, described in FILTERS.items()
    )
    commands = (
        ("syncs", "List the syncs that read, write, or are labelled as wanted", _syncs, filters),
        ("runs", f"List the {NEWEST} newest runs of a sync", _runs, (sync,)),
        ("trigger", "Start a run of a sync, and tell its id", _trigger, (sync, full, wait)),
        ("status", "Show a sync run", _status, (run,)),
        ("cancel", "Cancel a sync run, and show it", _cancel, (run,)),
        ("check", "Check a connection: its token, region and version, and what v2 needs", _check, ()),
    )
    return [
        GroupCommand(
            name="census",
            help="Start, watch and cancel sync runs in Census",
            subcommands=[
                ActionCommand(name, help, _command(find), (*args, conn_id, ARG_OUTPUT, ARG_VERBOSE))
                for name, help, find, args in commands
            ],
        )
    ]


def _command(find: Callable[[CensusHook, Namespace], list[Row] | Row]) -> Callable[[Namespace], None]:
    """Make a command of what finds what it prints: rows, or the properties of one thing."""

    def command(args: Namespace) -> None:
        from airflow.utils.cli import suppress_logs_and_warning

        suppress_logs_and_warning(show)(args)

    def show(args: Namespace) -> None:
        import json
        import os

        from airflow.cli.simple_table import AirflowConsole
        from airflow.providers.common.compat.sdk import AirflowException

        from airflow_provider_census.api.cleaning import visible, writable
        from airflow_provider_census.exceptions import CensusError
        from airflow_provider_census.hooks.census import CensusHook

        # With this, as in Airflow's own commands, a connection is also looked for in the database.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        try:
            found = find(CensusHook(args.conn_id), args)
        except (CensusError, AirflowException, ValueError) as error:
            raise SystemExit(visible(writable(" ".join(str(error).split())))) from None
        except (AttributeError, LookupError, TypeError) as error:
            raise SystemExit(
                f"Census responded with what this command cannot show: {error!r}. In Python, the methods of "
                "CensusHook give the response as it came."
            ) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None  # as shells tell of Ctrl-C
        outcome = found.get("outcome") if isinstance(found, dict) else None  # of a run that was waited for
        found = json.loads(writable(json.dumps(found, ensure_ascii=False)))
        if args.output in {"table", "plain"}:
            if isinstance(found, dict):
                found = [{"property_name": name, "property_value": value} for name, value in found.items()]
            found = visible(found)
        # What Census writes is no markup, though it may look like it.
        console = AirflowConsole(markup=False, emoji=False)
        console.print_as([found] if isinstance(found, dict) else found, args.output)
        if code := EXIT_CODES.get(outcome, 1) if outcome else 0:
            raise SystemExit(code)

    return command


def _syncs(hook: CensusHook, args: Namespace) -> list[Row]:
    from airflow_provider_census.api.selection import described
    from airflow_provider_census.api.syncs import own_schedule

    return [
        {
            **{column: sync.get(column) for column in ("id", "label", "status", "paused")},
            "schedule": own_schedule(sync),
            **described(sync),
        }
        for sync in hook.find_syncs(**{name: getattr(args, name) for name in FILTERS})
    ]


def _runs(hook: CensusHook, args: Namespace) -> list[Row]:
    runs = hook.list_sync_runs(_sync_id(hook, args.sync), order="desc", page=1, per_page=NEWEST)
    return [{**{column: run.get(column) for column in COLUMNS}, **_in_words(run)} for run in runs]


def _in_words(run: Mapping[str, Any]) -> Row:
    """Say who or what started a run, how long it took, and why it failed."""
    from airflow_provider_census.api import sync_runs, wording

    failed = sync_runs.outcome(run) == "failed"
    return {
        "started_by": wording.starter(run),
        "duration": wording.duration(run),
        "reason": wording.cause(run) if failed else "",
    }


def _trigger(hook: CensusHook, args: Namespace) -> list[Row] | Row:
    sync_id = _sync_id(hook, args.sync)
    sync_run_id = hook.trigger_sync(sync_id, force_full_sync=args.force_full_sync)
    url = _url(hook, {"id": sync_run_id, "sync_id": sync_id})
    if args.wait:
        from airflow_provider_census.cli_wait import wait_for_run

        return wait_for_run(hook, {"id": sync_run_id, "sync_id": sync_id}, url)
    return [{"sync_run_id": sync_run_id, "url": url}]


def _status(hook: CensusHook, args: Namespace) -> Row:
    from airflow_provider_census import reporting
    from airflow_provider_census.api import wording

    run = hook.get_sync_run(args.run)
    sync = reporting.read_definition(hook, run.get("sync_id"), hook.log)
    return {**run, "sync_name": wording.sync_name(sync), **_in_words(run), "url": _url(hook, run)}


def _cancel(hook: CensusHook, args: Namespace) -> Row:
    from airflow_provider_census.exceptions import CensusError

    hook.cancel_sync_run(args.run)
    try:
        return _status(hook, args)
    except CensusError as error:
        raise CensusError(f"Sync run {args.run} was cancelled, but cannot be shown: {error}") from error


def _check(hook: CensusHook, args: Namespace) -> Row:
    settings = hook.settings
    host = settings.base_url.partition("://")[2]
    return {
        "connection": hook.census_conn_id,
        "host": settings.base_url,
        "region": REGIONS.get(host, "not known of this host"),
        "api_version": settings.api_version,
        "syncs": sum(1 for _ in hook.iter_syncs()),  # an error, if the token is rejected
        "token": "accepted",
        "v2": _needed_for_v2(hook),
    }


def _needed_for_v2(hook: CensusHook) -> str:
    from airflow_provider_census.api.versions import END_OF_V1, days_of_v1
    from airflow_provider_census.hooks.census import CensusHook

    if hook.settings.api_version == "v2":
        group = "" if hook.settings.group_id else "; a group_id, only to create activations and the like"
        return f"in use{group}"
    accepted, _ = CensusHook(hook.census_conn_id, api_version="v2").test_connection()
    needed = "api_version v2" if accepted else "api_version v2, and a personal access token"
    days = days_of_v1()
    return f"needs {needed}; v1 {f'ends in {days} days' if days > 0 else 'ended'}, on {END_OF_V1}"


def _sync_id(hook: CensusHook, sync: str) -> int | str:
    return sync if sync.isdigit() else hook.find_sync(sync)["id"]


def _url(hook: CensusHook, run: Mapping[str, Any]) -> str:
    from airflow_provider_census.api.sync_runs import browser_url

    return browser_url(hook.settings.base_url, run)
