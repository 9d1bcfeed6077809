"""MATLAB's files, and the two benchmarks of real noise that are made of them (SIDD, DND).

Imported where they are needed: SciPy takes time to load, and h5py is an extra.
"""
