"""Pages of engines' own series, read and put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

# Engines put their name before a colon; nothing of ours has one, so no name stands twice.
_PREFIX_END: Final = ":"
# SGLang's name of the model can be a path. The label that we add says which one it is.
_LEFT_OUT: Final = "model_name"


def parse_families(text: str) -> list[Metric]:
    """Reads an engine's page; what has no prefix of an engine is left out."""
    families = text_string_to_metric_families(text)
    return [family for family in families if _PREFIX_END in family.name]


def label_families(pages: Mapping[str, Iterable[Metric]]) -> list[Metric]:
    """Joins the series of several models, each with its `model` as a label."""
    joined: dict[str, Metric] = {}
    for model, families in pages.items():
        for family in families:
            if family.name not in joined:
                joined[family.name] = Metric(family.name, family.documentation, family.type)
            joined[family.name].samples += [_labelled(sample, model) for sample in family.samples]
    return list(joined.values())


def _labelled(sample: Sample, model: str) -> Sample:
    labels = {name: value for name, value in sample.labels.items() if name != _LEFT_OUT}
    return sample._replace(labels={"model": model, **labels})
