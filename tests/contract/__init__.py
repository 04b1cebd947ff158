"""What callers of the previous service depend on, line by line: each test quotes its line.

A line of `docs/rest.md` is quoted as it stands there. Most tests ask one real service, started as
an operator starts it; where an engine must wait, fail or be looked into, a scripted one answers.
"""
