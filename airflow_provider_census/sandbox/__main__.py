# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""``python -m airflow_provider_census.sandbox``: a local Census until Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox


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

        with Sandbox(host=options.host, port=options.port) as census:
            print(welcome(census), flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return
    except (ModuleNotFoundError, OSError) as error:
        sys.exit(error.strerror if isinstance(error, OSError) else str(error))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Host and port from the command line; exits with a message when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_census.sandbox",
        description="A local Census for trying DAGs without an account. Nothing reaches the real one.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", default=8765, type=int, help="port, 0 for a free one (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error(f"argument --port: must be from 0 to 65535, not {options.port}")
    return options


def welcome(census: Sandbox) -> str:
    """What is printed at the start: where it listens, its tokens, what the runs of each sync do."""
    from airflow_provider_census.sandbox.outcomes import OUTCOMES

    return "\n".join(
        [
            f"Census sandbox: {census.url} (local and made up; nothing reaches the real Census)",
            "",
            f"API v1: {census.url}/api/v1",
            f"Token: {census.token}",
            f"export AIRFLOW_CONN_CENSUS_DEFAULT={shlex.quote(census.connection_uri)}",
            "",
            f"API v2: {census.url}/api/v2",
            f"Personal access token: {census.personal_access_token}",
            f"export AIRFLOW_CONN_CENSUS_DEFAULT={shlex.quote(census.connection_uri_v2)}",
            "",
            "Sync  What each of its runs does",
            *(f"{sync_id:>4}  {behavior.summary}" for sync_id, behavior in OUTCOMES.items()),
            "",
            "Ctrl-C stops it.",
        ]
    )


if __name__ == "__main__":
    main()
