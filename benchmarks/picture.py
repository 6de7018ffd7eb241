"""Draw the README's picture from a demo run: the held-out case of median Dice.

python benchmarks/picture.py demo_run benchmarks/pictures/phantom.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from segsuite.reports.overlays import overlay_figure
from segsuite.reports.tables import read_evaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    folder = options.run / "evaluation"
    measurements, cases = read_evaluation(folder)
    dice = measurements[measurements["metric"] == "dice"].groupby("case")["value"].mean().sort_values()
    case = dice.index[len(dice) // 2]
    row = cases[cases["case"] == case].iloc[0]
    figure = overlay_figure(*(folder / row[key] for key in ("image", "predicted", "reference")))
    figure.savefig(options.picture, dpi=110)
    print(f"{options.picture}: case {case}, mean Dice {dice[case]:.3f}")


if __name__ == "__main__":
    main()
