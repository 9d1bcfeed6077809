"""Everything about picture files: finding, reading, writing, and what pixels are."""
