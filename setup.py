"""Metadata stands in pyproject.toml; this file is for what will be compiled."""

from setuptools import setup

setup()
