# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Draw the pictures in docs/images/plots: time axes, and the delay of polling out of the simulation's own data.

They are SVG in the colours of the reader's theme. A test draws them again, and compares.
"""

from __future__ import annotations

import math
import random
from html import escape
from pathlib import Path

import bench_simulation as simulation

from airflow_provider_census.api.polling import WaitOptions

PLOTS = Path(__file__).resolve().parent.parent / "docs" / "images" / "plots"

GREEN, RED, AMBER, BLUE, GREY, PINK = "#1a7f37", "#cf222e", "#9a6700", "#0969da", "#6e7781", "#bf3989"

STYLE = """<style>
.plot{--ink:#1f2328;--soft:#59636e}
@media (prefers-color-scheme:dark){.plot{--ink:#e6edf3;--soft:#9198a1}}
.plot text{font:13px system-ui,sans-serif;fill:var(--ink)}.plot .soft{fill:var(--soft);font-size:12px}
.plot .in{fill:#fff;font-weight:600;font-size:12px}.plot .line{stroke:var(--soft);fill:none}
</style>"""


def main() -> None:
    PLOTS.mkdir(parents=True, exist_ok=True)
    for name, svg in drawings().items():
        (PLOTS / f"{name}.svg").write_text(svg)
        print(f"{name}.svg drawn")


def drawings() -> dict[str, str]:
    return {
        "if-running": if_running(),
        "timeouts": timeouts(),
        "backfill": backfill(),
        "outcomes": outcomes(),
        "polling": polling(),
    }


def drawing(width: int, height: int, *parts: str) -> str:
    box = f'viewBox="0 0 {width} {height}" width="{width}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" {box}>'
    return "\n".join([head, STYLE, *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{kind} text-anchor="{anchor}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, words: str, colour: str, *, dashed: bool = False) -> str:
    """Draw a time in which something runs, or, dashed, in which something waits."""
    if dashed:
        box = f'fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="5 3"'
        label = text(x + width / 2, y + 16, words, "soft", "middle")
    else:
        box = f'fill="{colour}"'
        label = text(x + width / 2, y + 16, words, "in", "middle")
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="23" rx="4" {box}/>{label}'


def rule(x: float, top: float, bottom: float) -> str:
    return f'<path class="line" stroke-dasharray="2 3" d="M{x:g} {top:g}V{bottom:g}"/>'


def arrow(y: float, left: float, right: float, words: str) -> str:
    path = f'<path class="line" d="M{left:g} {y:g}H{right:g}m-6 -4l6 4l-6 4"/>'
    return path + text(right, y + 17, words, "soft", "end")


def if_running() -> str:
    """What a task does for each value of ``if_running`` while another run of the sync is running."""
    rows = {
        '"trigger"': [bar(250, 30, 110, "skipped", AMBER), text(370, 46, "nothing is synced", "soft")],
        '"wait"': [bar(250, 30, 150, "waits", BLUE, dashed=True), bar(404, 30, 180, "its own run", GREEN)],
        '"join"': [
            bar(250, 30, 150, "waits for that run", BLUE, dashed=True),
            text(410, 46, "its end is ours", "soft"),
        ],
        '"fail"': [bar(250, 30, 60, "fails", RED), text(320, 46, "a retry checks again", "soft")],
    }
    parts = [rule(250, 18, 350), text(250, 14, "the task begins", "soft", "middle")]
    for number, (name, bars) in enumerate(rows.items()):
        top = 24 + 82 * number
        parts += [f'<g transform="translate(0 {top})">', text(4, 28, name)]
        parts += [bar(90, 2, 310, "a run that is running already", GREY), *bars, "</g>"]
    return drawing(600, 380, *parts, arrow(356, 90, 592, "time"))


def timeouts() -> str:
    """Which deadline ends a wait, and what becomes of the run."""
    rows = [
        ("timeout", 330, "CensusTimeoutError", "the run keeps running", GREY, 592),
        ("timeout, with cancel_on_timeout", 330, "CensusTimeoutError", "cancelled", RED, 330),
        ("execution_timeout", 420, "AirflowTaskTimeout", "cancelled", RED, 420),
        ("a user ends the task", 260, "cleared, failed or success", "cancelled", RED, 260),
        ("worker or triggerer stops", 300, "the retry reconnects", "the run keeps running", GREY, 592),
    ]
    parts = []
    for number, (name, ends, says, run, colour, until) in enumerate(rows):
        top = 8 + 92 * number
        parts += [text(4, top + 14, name), bar(90, top + 22, ends - 90, "the task waits", BLUE, dashed=True)]
        parts += [text(ends + 10, top + 38, says, "soft"), rule(ends, top + 16, top + 76)]
        if until > ends:
            parts += [
                bar(90, top + 50, until - 90, "", GREEN),
                text(240, top + 66, "the run", "in", "middle"),
            ]
            parts.append(text(until - 10, top + 66, run, "in", "end"))
        else:
            parts += [bar(90, top + 50, ends - 90, "the run", GREEN), text(ends + 10, top + 66, run, "soft")]
            parts.append(f'<circle cx="{ends}" cy="{top + 61}" r="5" fill="{colour}"/>')
    return drawing(600, 496, *parts, arrow(474, 90, 592, "time"))


def backfill() -> str:
    """A backfill of five days: every day is loaded, and the last one syncs."""
    parts = []
    for day in range(5):
        top, left = 8 + 34 * day, 90 + 72 * day
        parts += [text(4, top + 16, f"day {day + 1}"), bar(left, top, 66, "load", BLUE)]
        if day < 4:
            parts.append(text(left + 74, top + 16, "sync: skipped", "soft"))
        else:
            parts.append(bar(left + 70, top, 130, "sync", GREEN))
    return drawing(600, 212, *parts, arrow(190, 90, 592, "time"))


def outcomes() -> str:
    """The colour of a task, by how the run ended and what the parameters say."""
    columns = ["operator", "operator that waits", "sensor"]
    rows: list[tuple[str, str, list[str | None]]] = [
        ("completes", "", [GREEN, GREEN, GREEN]),
        ("completes, too many rejected", "max_records_failed=…", [GREEN, RED, RED]),
        ("completes, too few records", "min_records_processed=…", [GREEN, RED, RED]),
        ("fails", "", [GREEN, RED, RED]),
        ("is cancelled", "", [GREEN, RED, RED]),
        ("is skipped by Census", 'on_skipped_run="fail"', [GREEN, RED, RED]),
        ("", 'on_skipped_run="skip"', [GREEN, PINK, PINK]),
        ("", 'on_skipped_run="succeed"', [GREEN, GREEN, GREEN]),
        ("takes too long", "timeout=…", [GREEN, RED, RED]),
        ("", "soft_fail=True", [None, None, PINK]),
    ]
    words = {GREEN: "success", RED: "failed", PINK: "skipped"}
    lefts = [440, 530, 620]
    parts = [text(4, 20, "The run …", "soft"), text(215, 20, "with", "soft")]
    for left, column in zip(lefts, columns, strict=True):
        first, _, rest = column.partition(" ")
        parts += [text(left, 14, first, "soft", "middle"), text(left, 28, rest, "soft", "middle")]
    for number, (run, parameter, colours) in enumerate(rows):
        top = 36 + 30 * number
        parts += [text(4, top + 16, run), text(215, top + 16, parameter, "soft")]
        parts += [
            bar(left - 35, top, 70, words[colour], colour)
            for left, colour in zip(lefts, colours, strict=True)
            if colour
        ]
    return drawing(664, 340, *parts)


def polling() -> str:
    """Seconds between the end of a run and the poll that finds it, over the length of the run."""
    lengths = [5 * 1.25**step for step in range(33)]
    ours = [delay(length, WaitOptions().interval) for length in lengths]
    fixed = [delay(length, simulation.fixed) for length in lengths]

    def x(seconds: float) -> float:
        return 60 + 510 * math.log(seconds / 5) / math.log(7200 / 5)

    def y(seconds: float) -> float:
        return 270 - seconds * 16

    def line(values: list[float], colour: str) -> str:
        points = " ".join(
            f"{x(length):.1f},{y(value):.1f}" for length, value in zip(lengths, values, strict=True)
        )
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>'

    parts = []
    for seconds in (0, 5, 10, 15):
        parts += [f'<path class="line" opacity=".35" d="M60 {y(seconds):g}H570"/>']
        parts.append(text(52, y(seconds) + 4, f"{seconds} s", "soft", "end"))
    for seconds, words in (
        (5, "5 s"),
        (30, "30 s"),
        (120, "2 min"),
        (600, "10 min"),
        (3600, "1 h"),
        (7200, "2 h"),
    ):
        parts += [rule(x(seconds), 15, 270), text(x(seconds), 288, words, "soft", "middle")]
    parts += [line(fixed, GREY), line(ours, BLUE)]
    parts += [text(x(3600), y(6.2), "a poll every 15 s", "soft", "end")]
    parts += [text(x(3600), y(11.8), "adaptive polling", "", "end")]
    parts += [text(4, 12, "noticed after", "soft"), text(570, 306, "length of the run", "soft", "end")]
    return drawing(600, 312, *parts)


def delay(length: float, interval: simulation.Interval) -> float:
    """Average over many runs of about this length."""
    chance = random.Random(7)
    waits = [simulation.wait(length * chance.uniform(0.8, 1.25), interval, chance)[1] for _ in range(1500)]
    return sum(waits) / len(waits)


if __name__ == "__main__":
    main()
