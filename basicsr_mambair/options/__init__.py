"""Option files: read, completed, checked. Nothing else opens one.

- ``sources``, ``compose``: a file and what it extends, with the line of every value;
- ``values``, ``fields``: how types are declared; ``sections``, ``stock``: the types of BasicSR's
  sections, datasets and models; those of others live at their classes;
- ``checks``, ``calls``, ``registered``, ``surroundings``: what is wrong, all of it at once;
- ``schema``, ``tables``: the types as JSON Schema and as tables of the documentation.
"""

from basicsr_mambair.options.compose import composed_text
from basicsr_mambair.options.errors import OptionError
from basicsr_mambair.options.load import is_training_file, load_any_options, load_options

__all__ = [
    "OptionError",
    "composed_text",
    "is_training_file",
    "load_any_options",
    "load_options",
]
