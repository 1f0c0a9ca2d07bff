"""The figures of the bases that ship: sizes are counted again from their configurations."""

from typing import NamedTuple

import pytest

from selftune.models.catalog import Base, catalog


class Configuration(NamedTuple):
    """What a model's configuration says beside its layers and its width."""

    heads: int
    key_value_heads: int
    head_width: int
    inner: int
    vocabulary: int
    is_tied: bool = False
    experts: int = 1


CONFIGURATIONS = {
    "Qwen/Qwen3-0.6B": Configuration(16, 8, 128, 3072, 151_936, is_tied=True),
    "Qwen/Qwen3-1.7B": Configuration(16, 8, 128, 6144, 151_936, is_tied=True),
    "Qwen/Qwen3-4B": Configuration(32, 8, 128, 9728, 151_936, is_tied=True),
    "Qwen/Qwen3-4B-Instruct-2507": Configuration(32, 8, 128, 9728, 151_936, is_tied=True),
    "Qwen/Qwen3-8B": Configuration(32, 8, 128, 12_288, 151_936),
    "Qwen/Qwen3-14B": Configuration(40, 8, 128, 17_408, 151_936),
    "Qwen/Qwen3-32B": Configuration(64, 8, 128, 25_600, 151_936),
    "Qwen/Qwen2.5-0.5B-Instruct": Configuration(14, 2, 64, 4864, 151_936, is_tied=True),
    "Qwen/Qwen2.5-1.5B-Instruct": Configuration(12, 2, 128, 8960, 151_936, is_tied=True),
    "Qwen/Qwen2.5-3B-Instruct": Configuration(16, 2, 128, 11_008, 151_936, is_tied=True),
    "Qwen/Qwen2.5-7B-Instruct": Configuration(28, 4, 128, 18_944, 152_064),
    "Qwen/Qwen2.5-14B-Instruct": Configuration(40, 8, 128, 13_824, 152_064),
    "Qwen/Qwen2.5-32B-Instruct": Configuration(40, 8, 128, 27_648, 152_064),
    "meta-llama/Llama-3.2-1B-Instruct": Configuration(32, 8, 64, 8192, 128_256, is_tied=True),
    "meta-llama/Llama-3.2-3B-Instruct": Configuration(24, 8, 128, 8192, 128_256, is_tied=True),
    "meta-llama/Llama-3.1-8B-Instruct": Configuration(32, 8, 128, 14_336, 128_256),
    "meta-llama/Llama-3.3-70B-Instruct": Configuration(64, 8, 128, 28_672, 128_256),
    "google/gemma-3-270m-it": Configuration(4, 1, 256, 2048, 262_144, is_tied=True),
    "google/gemma-3-1b-it": Configuration(4, 1, 256, 6912, 262_144, is_tied=True),
    "mistralai/Mistral-7B-Instruct-v0.3": Configuration(32, 8, 128, 14_336, 32_768),
    "mistralai/Mistral-Nemo-Instruct-2407": Configuration(32, 8, 128, 14_336, 131_072),
    "HuggingFaceTB/SmolLM2-135M-Instruct": Configuration(9, 3, 64, 1536, 49_152, is_tied=True),
    "HuggingFaceTB/SmolLM2-360M-Instruct": Configuration(15, 5, 64, 2560, 49_152, is_tied=True),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": Configuration(32, 32, 64, 8192, 49_152, is_tied=True),
    "microsoft/Phi-4-mini-instruct": Configuration(24, 8, 128, 8192, 200_064, is_tied=True),
    "openai/gpt-oss-20b": Configuration(64, 8, 64, 2880, 201_088, experts=32),
}
"""Copies of the models' config.json, looked up in November 2026: in litgpt, torchtune, mlc-llm,
tt-metal, keras-hub, and on pages of the Hugging Face hub."""

OPEN = [base for base in catalog().base if base.source is not None]


def counted(base: Base, told: Configuration) -> int:
    """Count the weights; biases, and norms beside the usual two, are too few for three digits."""
    assert base.layers is not None
    assert base.width is not None
    attention = 2 * base.width * told.head_width * (told.heads + told.key_value_heads)
    forward = told.experts * 3 * base.width * told.inner
    layer = attention + forward + 2 * base.width
    vocabularies = 1 if told.is_tied else 2
    return base.layers * layer + base.width + vocabularies * told.vocabulary * base.width


@pytest.mark.parametrize("base", OPEN, ids=lambda base: base.id)
def test_the_size_of_a_base_is_what_its_configuration_counts_to_three_digits(base: Base) -> None:
    found = counted(base, CONFIGURATIONS[base.id])
    assert base.parameters == int(float(f"{found:.3g}"))
