"""The data: what three shops have sold on some days, one file for each day."""

from pathlib import Path

import aiflow_ext as af

SHOPS = ("north", "south", "west")


def sales():
    folder = Path("sales")
    folder.mkdir()
    for day in range(1, af.current_job().properties["days"] + 1):
        rows = [f"{SHOPS[(day + order) % 3]},{order},{(day * 7919 + order * 104729) % 5000}" for order in range(1, 101)]
        (folder / f"day-{day}.csv").write_text("\n".join(rows) + "\n")
    return folder
