"""Repairs of the log file and of wandb."""

from __future__ import annotations

import importlib
import logging
import secrets
from typing import Any

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    "the log file is written in the encoding of the locale, which may lack characters of an option",
    thread="mmdetection#8732; basicsr/utils/logger.py, get_root_logger",
)
def log_encoding() -> bool:
    """Writes log files as UTF-8."""
    from basicsr.utils import logger

    original = logger.get_root_logger
    if not source_has(original, "logging.FileHandler(log_file, 'w')"):
        return False

    def get_root_logger(*args: Any, **kwargs: Any) -> logging.Logger:
        log: logging.Logger = original(*args, **kwargs)
        for handler in log.handlers:
            if isinstance(handler, logging.FileHandler) and handler.encoding != "utf-8":
                handler.encoding = "utf-8"
                # An argument that the locale could not decode holds lone surrogates.
                if handler.stream is not None:
                    handler.stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        return log

    replace(logger, "get_root_logger", get_root_logger)
    return True


@repair(
    "wandb.util.generate_id was removed from wandb; every new run asks it for an id",
    thread="basicsr/utils/logger.py, init_wandb_logger",
)
def wandb_ids() -> bool:
    """Draws the id where wandb does not; for scripts that call BasicSR's function themselves."""
    from basicsr.utils import logger

    original = logger.init_wandb_logger
    # Whether wandb still has it is asked in the call: importing wandb takes seconds.
    if not source_has(original, "wandb.util.generate_id()"):
        return False

    def init_wandb_logger(opt: dict[str, Any]) -> None:
        util = importlib.import_module("wandb.util")
        if not hasattr(util, "generate_id"):
            util.generate_id = lambda: secrets.token_hex(4)  # type: ignore[attr-defined]
        original(opt)

    replace(logger, "init_wandb_logger", init_wandb_logger)
    return True
