"""The engines, each behind the one protocol of `contract/engine.py`."""
