"""Stores: where entries are kept."""
