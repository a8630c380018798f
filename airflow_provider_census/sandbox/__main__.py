# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""``python -m airflow_provider_census.sandbox``: a local Census until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import logging
import re
import shlex
import signal
import sys
import threading
from typing import TYPE_CHECKING

from airflow_provider_census.sandbox import data, outcomes

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Outcome, Sandbox


def main(arguments: list[str] | None = None) -> None:
    """Serve until Ctrl-C.

    :param arguments: command line words; those of the process when None.
    """
    options = parse(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("airflow_provider_census.sandbox").setLevel(logging.INFO)
    try:
        # A shell that starts a process in the background makes it ignore Ctrl-C; take that back.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from airflow_provider_census.sandbox import Sandbox

        with Sandbox(options.host, options.port, syncs=options.syncs) as census:
            print(welcome(census, options.syncs), flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return
    except (ModuleNotFoundError, OSError) as error:
        sys.exit(error.strerror if isinstance(error, OSError) else str(error))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Host, port and syncs from the command line; exits with a message when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_census.sandbox",
        description="A local Census for trying DAGs without an account. Nothing reaches the real one.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, for this machine alone)",
    )
    parser.add_argument(
        "--port", default=8765, type=int, help="port, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--sync",
        action="append",
        dest="syncs",
        metavar="SYNC=OUTCOME",
        type=outcome,
        help="a sync of yours, by id or label, and what its runs do: completes, completes:RECORDS, "
        "fails:CODE:MESSAGE, rejects:RECORDS:REASON, skipped, cancelled, runs_for:SECONDS or never_ends; "
        "given again for one sync, for its next run. Any other id completes.",
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error(f"argument --port: must be from 0 to 65535, not {options.port}")
    if options.syncs:
        syncs: dict[int | str, list[Outcome]] = {}
        for sync, does in options.syncs:
            syncs.setdefault(sync, []).append(does)
        options.syncs = syncs
    return options


def outcome(text: str) -> tuple[int | str, Outcome]:
    """Read ``90210=fails`` or ``Nightly contacts=completes``."""
    sync, _, does = text.partition("=")
    try:
        if not sync or not does:
            raise ValueError("write SYNC=OUTCOME, such as 90210=fails")
        key = int(sync) if re.fullmatch("[0-9]+", sync) else sync
        outcomes.check_key(key)
        return key, outcomes.parse(does)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def welcome(census: Sandbox, syncs: dict[int | str, list[Outcome]] | None) -> str:
    """What is printed at the start: where it listens, its tokens, what the runs of each sync do."""
    does = syncs or {sync_id: [does] for sync_id, does in outcomes.OUTCOMES.items()}
    return "\n".join(
        [
            f"Census sandbox: {census.url} (local and made up; nothing reaches the real Census)",
            "",
            f"API v2: {census.url}/api/v2",
            f"Personal access token: {census.personal_access_token}",
            export(census, census.personal_access_token, {"api_version": "v2", "group_id": data.GROUP_ID}),
            "",
            f"API v1, which Census ends on 15 January 2027: {census.url}/api/v1",
            f"Token: {census.token}",
            export(census, census.token, {"api_version": "v1"}),
            "",
            "Sync  What each of its runs does",
            *(f"{sync:>4}  {', then '.join(each.summary for each in its)}" for sync, its in does.items()),
            "Any other id completes, too.",
            "",
            "Ctrl-C stops it.",
        ]
    )


def export(census: Sandbox, token: str, extra: dict[str, str]) -> str:
    """The command that sets the Airflow connection, in the form that 2.1.0 of the provider takes, too."""
    connection = {"conn_type": "census", "host": census.url, "password": token, "extra": extra}
    return f"export AIRFLOW_CONN_CENSUS_DEFAULT={shlex.quote(json.dumps(connection))}"


if __name__ == "__main__":
    main()
