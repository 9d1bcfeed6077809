"""The backends, one in each file: every module of this folder is imported and registers one."""
