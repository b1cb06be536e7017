"""Writes new plugins, extensions and workflows: what ``aiflow-ext new`` makes. The public module is ``write``."""
