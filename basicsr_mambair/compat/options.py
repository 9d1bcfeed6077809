"""Repair of how BasicSR reads its command line and its option file."""

from __future__ import annotations

import argparse

from basicsr_mambair.compat.repair import repair, replace, source_has


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
        from basicsr_mambair.cli.arguments import current_arguments
        from basicsr_mambair.config import prepare_run

        arguments = current_arguments("train" if is_train else "test")
        options = prepare_run(arguments, root_path, is_train)
        return options, argparse.Namespace(**vars(arguments))

    replace(options, "parse_options", parse_options)
    return True
