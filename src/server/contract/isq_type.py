"""In-situ quantisation: the names that an operator may give."""

from __future__ import annotations

import enum


class IsqType(enum.Enum):
    """A type of in-situ quantisation, by the name that llama.cpp gives to its file types."""

    Q4_0 = "Q4_0"
    Q4_1 = "Q4_1"
    Q5_0 = "Q5_0"
    Q5_1 = "Q5_1"
    Q8_0 = "Q8_0"
    Q8_1 = "Q8_1"
    Q2_K = "Q2_K"
    Q3_K = "Q3_K"
    Q4_K = "Q4_K"
    Q5_K = "Q5_K"
    Q6_K = "Q6_K"
    Q8_K = "Q8_K"
