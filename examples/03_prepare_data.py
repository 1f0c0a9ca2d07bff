"""Look at data before training: what is wrong, what is it, what does it cost, what is held out.

Needs no server and no key. `selftune data check|describe|estimate|split` do the same in a terminal.
"""

import sys
from pathlib import Path

from selftune.data.check import check
from selftune.data.describe import describe
from selftune.data.estimate import EstimateOptions, estimate
from selftune.data.split_folder import FolderOptions, split_source

SOURCE = Path(__file__).parent / "intents" / "train.jsonl"


def main(folder: Path) -> int:
    """Check, describe, estimate and split the intents; return a status for the shell."""
    checked = check(SOURCE)
    for problem in checked.problems:
        print(f"{problem.severity}, line {problem.line}: {problem.message} -> {problem.remedy}")
    if checked.has_errors:
        return 1

    found = describe(SOURCE)
    print(f"{found.rows} rows, {checked.tokens:,} tokens")

    for training in estimate(SOURCE, EstimateOptions(models=("gpt-4o-mini",))).trainings:
        price = "unknown" if training.dollars is None else f"${training.dollars:.2f}"
        epochs = "unknown" if training.epochs is None else training.epochs.value
        print(f"{training.model}: {price} for {epochs} epochs")

    report = split_source(SOURCE, folder, FolderOptions(replace=True))
    for name, file in report.files.items():
        print(f"{folder / name}: {file.rows} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "parts")))
