"""Bounds of requests, streams and connections that no variable sets: they change here alone."""

from __future__ import annotations

from typing import Final

# Text of a prompt, or of all messages together. A token is rarely under one character, and the
# longest contexts of today hold about a million tokens; beyond it, tokenising alone would take
# seconds of a core.
MAX_PROMPT_CHARACTERS: Final = 8_000_000
# Renders of one model at once: each takes a core for its time.
MAX_CONCURRENT_RENDERS: Final = 4
# Bytes of the prompts of one model that are rendered, or wait for it. One alone may be larger.
MAX_RENDER_BYTES: Final = 64 << 20
# Streams of one HTTP/2 connection; more calls wait in the client.
MAX_CONCURRENT_STREAMS: Final = 1024
# Calls that have come and that nobody has looked at yet. gRPC's own 1000 are fewer than two
# connections may have, and it cuts a part of those beyond off by chance, whoever sent them.
MAX_PENDING_CALLS: Final = 16_384
# Bytes of all metadata of one call.
MAX_METADATA_BYTES: Final = 16 * 1024
# Characters of a request id that a caller chose.
MAX_REQUEST_ID_CHARACTERS: Final = 128
# Health watches open at once.
MAX_HEALTH_WATCHES: Final = 1024
# Connections open at once at the port of metrics: each has a thread, and a file that calls need.
MAX_SCRAPES: Final = 64
# Streams of load reports open at once, and the shortest time between two reports of one.
MAX_LOAD_REPORT_STREAMS: Final = 1024
MIN_LOAD_REPORT_INTERVAL_S: Final = 1.0
# Log-probabilities of one answer that is sent as one message. At about 20 bytes each they stay well
# under the 4 MiB that a gRPC client takes by default.
MAX_LOGPROBS_OF_ONE_MESSAGE: Final = 150_000
# Log-probabilities of one prompt. They come all at once, and a log of 16 MiB (`MAX_LOG_BYTES`)
# keeps them for a reader that is slow, with room for the answer behind them.
MAX_PROMPT_LOGPROBS: Final = 65_536
# Longest silence on a stream that asked for progress.
PROGRESS_INTERVAL_S: Final = 10.0
# The longest side of an image, and how many times the other it may be: Qwen2.5-VL takes none
# beyond 200, and what an image is scaled to holds little of one so long.
MAX_IMAGE_SIDE: Final = 8192
MAX_IMAGE_RATIO: Final = 100
# Addresses that one image may lead to, and the time for all of them together.
MAX_IMAGE_REDIRECTS: Final = 3
IMAGE_FETCH_S: Final = 10.0
# Longest decoding of the images of one request: of 16 million pixels it takes about a second.
IMAGE_DECODE_S: Final = 20.0
# Requests whose images are fetched at once, and decoded at once.
MAX_CONCURRENT_FETCHES: Final = 16
MAX_CONCURRENT_DECODES: Final = 2
# Bytes of the decoded images of one request: a third more in base64, as llama.cpp gets them, must
# be under the 100 MB that its server takes.
MAX_REQUEST_IMAGE_BYTES: Final = 64 << 20
# Bytes of decoded images that requests hold together, while they wait and run. All of them may go
# to SGLang's host in one frame, which has 256 MiB at most.
MAX_HELD_IMAGE_BYTES: Final = 192 << 20
