"""Asks SGLang's model registry for architectures.

Run with `-m` and their names; prints for each one, as JSON, which code runs it: `sglang`,
`transformers` (SGLang's backend for models that only transformers has) or `none`. A process of its
own: the registry imports every model of SGLang.
"""

from __future__ import annotations

import json
import logging
import os
import sys

from tokenwire.server.engines.sglang.cpu import cpu_environment, offer_kernel_stand_in


def main(names: list[str]) -> None:
    """Prints the answers on the last line."""
    os.environ.update(cpu_environment(None))
    offer_kernel_stand_in()
    logging.disable()
    import transformers
    from sglang.srt.models.registry import ModelRegistry

    answers: dict[str, str] = {}
    for name in names:
        model_class = getattr(transformers, name, None)
        if ModelRegistry.is_arch_supported(name):
            answers[name] = "sglang"
        elif model_class is not None and model_class.is_backend_compatible():
            answers[name] = "transformers"
        else:
            answers[name] = "none"
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
