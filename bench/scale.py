"""What 100,000 videos would take: hours and costs by stage, from measured rates.

python bench/scale.py

Reads bench/scale.json: what is planned, what an hour of a core and of a GPU costs, and for each
stage the rate that one of them was measured at, with the command that measures it. Prints the table
of docs/scale.md. A stage whose rate has not been measured says so, and its hours are left out of
the sum.

Arithmetic of a row: hours = amount / rate / 3600, cost = hours × price. Example: 157,680,000
seconds of video (5 years) at 10 seconds of video a second on a core are 4,380 core hours.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

FILE = Path(__file__).with_suffix(".json")
COLUMNS = ["stage", "amount", "rate", "hours", "cost", "measured by"]


@dataclass(frozen=True)
class Cost:
    """One row: `hours` of a `device` ("core", "GPU").

    Both numbers are None where no rate has been measured.
    """

    hours: float | None
    price: float | None


def cost(amount: float, rate: float | None, price: float) -> Cost:
    """What one stage takes.

    Args:
        amount: how much there is to do, in the unit of `rate`.
        rate: how much of it one device does in a second; None: not measured.
        price: of an hour of the device.
    """
    if rate is None:
        return Cost(None, None)
    hours = amount / rate / 3600
    return Cost(hours, hours * price)


def short(number: float) -> str:
    """Two digits of a small number, all of a large one: 0.054 to "0.05", 4380.2 to "4,380"."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}" if number < 1 else f"{number:.1f}"


def rows(plan: dict, prices: dict, stages: list[dict]) -> list[list[str]]:
    """The table's rows, with a sum for each device at the end."""
    told, sums = [], dict.fromkeys(prices, 0.0)
    for stage in stages:
        device, unit = stage["device"], stage["unit"]
        amount = plan[unit] * stage.get("times", 1)
        found = cost(amount, stage["rate"], prices[device])
        row = [stage["stage"], f"{amount:,.0f} {unit.replace('_', ' ')}"]
        if found.hours is None:
            row += ["not measured", "", ""]
        else:
            sums[device] += found.hours
            row += [
                f"{stage['rate']:,} a second on a {device}",
                short(found.hours),
                short(found.price),
            ]
        told.append([*row, f"`{stage['command']}`"])
    for device, hours in sums.items():
        if hours:
            told.append(
                [f"all on {device}s", "", "", short(hours), short(hours * prices[device]), ""]
            )
    return told


def storage(plan: dict) -> list[list[str]]:
    """What lies on disk, in gigabytes."""
    crops = plan["crops"]
    return [
        ["crops as JPEGs in tars, one a video", f"{crops * plan['bytes_per_crop'] / 1e9:,.0f}"],
        ["features, float16", f"{crops * plan['feature_numbers'] * 2 / 1e9:,.0f}"],
    ]


def tables(told: dict) -> str:
    """Both tables as Markdown."""
    stages = tabulate(
        rows(told["plan"], told["prices"], told["stages"]),
        COLUMNS,
        tablefmt="github",
        disable_numparse=True,
    )
    return f"{stages}\n\n" + tabulate(
        storage(told["plan"]), ["stored", "GB"], tablefmt="github", disable_numparse=True
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, default=FILE, help="rates and plan (bench/scale.json)")
    print(tables(json.loads(parser.parse_args().file.read_text())))


if __name__ == "__main__":
    main()
