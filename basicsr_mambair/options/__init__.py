"""Option files: read, completed and checked. Nothing else opens one."""

from basicsr_mambair.options.compose import composed_text
from basicsr_mambair.options.errors import OptionError
from basicsr_mambair.options.load import load_any_options, load_options

__all__ = [
    "OptionError",
    "composed_text",
    "load_any_options",
    "load_options",
]
