"""Decides SGLang's arguments from files, settings and memory, before anything is started."""
