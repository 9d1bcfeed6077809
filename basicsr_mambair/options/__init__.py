"""Option files: read, completed, checked, and turned into a run. Nothing else opens one."""

from basicsr_mambair.options.compose import composed_text
from basicsr_mambair.options.errors import OptionError
from basicsr_mambair.options.load import load_any_options, load_options
from basicsr_mambair.options.run import RunArguments, prepare_run

__all__ = [
    "OptionError",
    "RunArguments",
    "composed_text",
    "load_any_options",
    "load_options",
    "prepare_run",
]
