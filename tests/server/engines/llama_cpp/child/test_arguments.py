"""What the front and the child of llama.cpp tell each other."""

from __future__ import annotations

from tokenwire.server.engines.llama_cpp.child.arguments import ChildArguments, ChildReport


def test_both_are_read_as_they_were_written() -> None:
    """Arguments and reports come out as they went in, on one line."""
    arguments = ChildArguments("/a b/m.gguf", "/tmp/s.sock", 4, 2048, 2, "{{ x }}\n", "/c/u.gguf")
    report = ChildReport(error="install it", detail="line one\nline two")
    assert ChildArguments.from_json(arguments.to_json()) == arguments
    assert ChildReport.from_json(report.to_json()) == report
    assert "\n" not in report.to_json()
