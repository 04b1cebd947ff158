"""Engines that live and do not go on, and loads that were ended from outside."""
