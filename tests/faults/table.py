CHAOS = {"scripted": 101, "llama.cpp": 102, "sglang": 103}
