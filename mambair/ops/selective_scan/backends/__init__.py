"""The backends, one a file: every module of this folder is imported, and registers its own."""
