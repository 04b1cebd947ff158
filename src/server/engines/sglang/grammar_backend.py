"""SGLang's grammars: llguidance, as the front checks constraints with it, and quiet about them."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

NAME: Final = "llguidance"
"""The name of SGLang's own, in whose place ours is used."""

ASKED_VARIABLE: Final = "TOKENWIRE_SGLANG_GRAMMARS"
"""Set by the front for the processes of its host: see `isq/plugin.py`."""

MAX_CACHED: Final = 128

# A comment in llguidance's language, and no line that a grammar of ours has.
_EARLIER: Final = "// tokenwire: behind the tokens "
_ENDING: Final = re.compile(rf"\n{_EARLIER}(\d+(?:,\d+)*)\Z")

_logger = logging.getLogger(__name__)


def grammar_behind(token_ids: Sequence[int], grammar: str) -> str:
    """Writes a grammar for an answer whose first tokens are known: it is followed behind them."""
    return f"{grammar}\n{_EARLIER}{','.join(map(str, token_ids))}" if token_ids else grammar


def read_grammar(text: str) -> tuple[list[int], str]:
    """Reads what `grammar_behind` wrote."""
    found = _ENDING.search(text)
    if found is None:
        return [], text
    return [int(token_id) for token_id in found[1].split(",")], text[: found.start()]


def offer() -> None:
    """Puts our own in the place of SGLang's. Imports SGLang."""
    # At errors it prints the grammars, which are texts of callers.
    logging.getLogger("sglang.srt.constrained").setLevel(logging.CRITICAL)
    import_module("sglang.srt.constrained.base_grammar_backend").register_grammar_backend(
        NAME, _make
    )


def _make(
    _server_args: Any, tokenizer: Any, vocab_size: int, eos_token_ids: Any = None, *_others: Any
) -> Any:  # SGLang has no types
    module = import_module("sglang.srt.constrained.llguidance_backend")
    try:
        return _backend_class(module)(
            tokenizer=tokenizer, n_vocab=vocab_size, **_ends(module, eos_token_ids)
        )
    except (TypeError, ValueError):
        # The host tells that this model takes no constraints.
        _logger.warning("no_grammars", extra={"tokenizer": type(tokenizer).__name__})
        return None


def _ends(module: Any, eos_token_ids: Any) -> dict[str, Any]:
    """Names all tokens that end an answer, where this version of SGLang takes them."""
    known = inspect.signature(module.GuidanceBackend.__init__).parameters
    return {"eos_token_ids": eos_token_ids} if "eos_token_ids" in known else {}


def _backend_class(module: Any) -> Any:
    llguidance = import_module("llguidance")
    invalid = import_module("sglang.srt.constrained.base_grammar_backend").InvalidGrammarObject
    takes_matcher = "ll_matcher" in inspect.signature(module.GuidanceGrammar.__init__).parameters

    class _Backend(module.GuidanceBackend):  # type: ignore[misc] # Any
        """Keeps the last grammars alone, and none of their text in its errors."""

        def set_cache(self, key: Any, value: Any) -> None:
            self.cache.pop(key, None)
            self.cache[key] = value
            while len(self.cache) > MAX_CACHED:
                # Another thread reads it, but this one alone takes away.
                del self.cache[next(iter(self.cache))]

        def _from_serialized(self, serialized_grammar: str) -> Any:
            earlier_ids, serialized_grammar = read_grammar(serialized_grammar)
            if not takes_matcher and not earlier_ids:
                return module.GuidanceBackend._from_serialized(self, serialized_grammar)
            matcher = llguidance.LLMatcher(
                self.llguidance_tokenizer,
                serialized_grammar,
                log_level=0,
                limits=llguidance.LLParserLimits(verbose_errors=False),
            )
            can_go_on = takes_matcher or not earlier_ids
            if not can_go_on or (earlier_ids and not matcher.consume_tokens(earlier_ids)):
                return invalid("the grammar does not go on here")
            if matcher.is_error():
                return invalid("the grammar does not compile here")
            return module.GuidanceGrammar(
                llguidance_tokenizer=self.llguidance_tokenizer,
                serialized_grammar=serialized_grammar,
                ll_matcher=matcher,
            )

    return _Backend
