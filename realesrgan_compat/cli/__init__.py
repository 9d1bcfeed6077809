"""The commands: one file each. What takes time to import is imported when they run."""
