"""Constraints, checked and written as the one grammar that every engine takes."""
