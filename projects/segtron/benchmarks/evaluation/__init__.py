"""Scoring what models predict."""
