"""Repair of how BasicSR reads its command line and its option file."""

from __future__ import annotations

import argparse
from pathlib import Path

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    "torchrun's --local-rank is unknown; results go to site-packages, path.experiments_root is "
    "ignored; a list of data roots crashes; unknown keys pass silently",
    thread="BasicSR#626; basicsr/utils/options.py, parse_options",
)
def option_loading() -> bool:
    """Loads and checks option files in the package's one place for it."""
    import basicsr.test
    import basicsr.train  # noqa: F401  (both hold a name of their own for parse_options)
    from basicsr.utils import options

    if not source_has(options.parse_options, "'--local_rank', type=int"):
        return False

    def parse_options(root_path: str, is_train: bool = True) -> tuple[dict, argparse.Namespace]:
        from basicsr_mambair.cli.run_arguments import current_arguments
        from basicsr_mambair.options import prepare_run

        arguments = current_arguments("train" if is_train else "test")
        options = prepare_run(arguments, root_path, is_train)
        return options, argparse.Namespace(**vars(arguments))

    replace(options, "parse_options", parse_options)
    return True


@repair(
    "an experiment's copy of its option file would lack what the file extends",
    thread="basicsr/utils/options.py, copy_opt_file",
)
def option_copies() -> bool:
    """Writes the whole options of a run beside it when the file takes some from others."""
    from basicsr.utils import options

    original = options.copy_opt_file
    if not source_has(original, "copyfile(opt_file, filename)"):
        return False

    def copy_opt_file(opt_file: str, experiments_root: str) -> None:
        from basicsr.utils.dist_util import get_dist_info

        from basicsr_mambair.options import composed_text

        original(opt_file, experiments_root)
        text = composed_text(opt_file)
        rank, _ = get_dist_info()
        if text is not None and rank == 0:
            copy = Path(experiments_root) / Path(opt_file).name
            header = "".join(copy.read_text(encoding="utf-8").splitlines(keepends=True)[:3])
            copy.write_text(f"{header}\n{text}", encoding="utf-8")

    replace(options, "copy_opt_file", copy_opt_file)
    return True
