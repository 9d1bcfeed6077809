"""The keys that BasicSR's own source reads are declared."""

from __future__ import annotations

import re
from pathlib import Path

from basicsr_mambair.models.options import RESTORATION
from basicsr_mambair.options import sections, stock
from basicsr_mambair.options.fields import fields_of

_READ = re.compile(
    r"""(?P<base>\w*opt)(?:\[['"]\w+['"]\])*(?:\[['"](?P<item>\w+)['"]\]|\.get\(['"](?P<get>\w+)['"])
    |['"](?P<contained>\w+)['"]\ (?:not\ )?in\ (?:self\.)?\w*opt\b""",
    re.VERBOSE,
)


def test_keys_that_basicsr_reads_are_known() -> None:
    """No key in BasicSR's own source is an error or a warning here."""
    import basicsr

    # set by BasicSR itself, or values deeper than the checked sections
    internal = set(
        """auto_resume client_keys db_paths debug dist is_train log models phase project rank
        root_path training_states type visualization world_size num_style_feat window_size lr
        resume_id""".split()
    )
    models = [*stock.STOCK_MODELS.values(), RESTORATION]
    parts = [getattr(model, part) for model in models for part in ("top", "train", "val")]
    parts += [sections.LoggerOptions, sections.PathOptions, *stock.STOCK_DATASETS.values()]
    everything = {key for part in parts for key in fields_of(part)} | {"network_g", "network_d"}
    everything |= {f"{form}_{label}" for form in sections.NETWORK_PATHS for label in "gd"}
    read = set()
    folder = Path(basicsr.__file__).parent
    for place in ("data", "models", "utils", "train.py", "test.py"):
        files = [folder / place] if place.endswith(".py") else (folder / place).glob("*.py")
        for file in files:
            for match in _READ.finditer(file.read_text()):
                read.add(match["item"] or match["get"] or match["contained"])
    assert len(read) > 80
    assert sorted(read - everything - internal) == []
