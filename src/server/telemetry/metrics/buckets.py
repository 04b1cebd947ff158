"""The buckets of histograms that others should find as they expect them."""

from __future__ import annotations

from typing import Final

# Of the OpenTelemetry conventions for generative AI (gen-ai-metrics.md).
DURATION_S: Final = tuple(0.01 * 2**i for i in range(14))
TTFT_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
PER_TOKEN_S: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2),
    *(0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
TOKENS: Final = tuple(4.0**i for i in range(14))

# Ours: from a large model on a CPU to a small one on a GPU.
TOKENS_PER_SECOND: Final = (
    *(0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0),
    *(100.0, 150.0, 200.0, 300.0, 500.0, 1000.0),
)
