"""The training states in the folder of a run."""

from __future__ import annotations

from pathlib import Path


def training_states(folder: str | Path) -> dict[int, Path]:
    """The training states in a folder by iteration, the newest first."""
    states = {int(path.stem): path for path in Path(folder).glob("*.state") if path.stem.isdigit()}
    return dict(sorted(states.items(), reverse=True))
