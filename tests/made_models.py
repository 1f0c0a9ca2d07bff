"""Tiny open models with random weights: the shapes, tokenizers and chat formats of real families.

The tokenizers are of the families' own classes, since transformers builds those again from the
model's type when it loads a folder. Of two models with the same arguments all bytes are the same.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Shape = Literal["llama", "qwen", "gemma"]
Tables = tuple[dict[str, int], Any]
"""The number of each token, and the pairs that are merged."""

TEXTS = (
    "The ferry to the island leaves at nine and comes back before the evening.",
    "Please answer in one word: which colour has the door of the old bakery?",
    "I would like to change the address of my order, and I need the invoice again.",
    '{"name": "get_weather", "arguments": {"city": "Oslo", "unit": "celsius"}}',
    '{"label": "refund", "urgent": true, "items": [1, 2, 3], "note": null}',
    "You are a helpful assistant. You answer shortly and you do not guess.",
    "Nobody knows why the lighthouse keeper counted the waves; he did it every day.",
    "positive negative neutral yes no maybe red green blue left right up down",
)
SPECIAL: dict[Shape, tuple[str, ...]] = {
    "llama": (
        "<unk>",
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
    ),
    "qwen": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "gemma": ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"),
}
MARKUP = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
"""Tokens of Qwen's that are added, yet not special."""
_UNUSED_ROWS = 4
"""Qwen's models have more rows than their tokenizer has tokens; so has this one."""

LLAMA_TEMPLATE = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{%- if system or tools %}
    {{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system }}
    {%- if tools %}
        {{- '\\nAnswer with {"name": function, "parameters": its arguments} to call one of:' }}
        {%- for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.tool_calls %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception('This model calls one tool at a time.') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {{- '{"name": "' + call.name + '", "parameters": ' + (call.arguments | tojson) + '}' }}
        {{- '<|eot_id|>' }}
    {%- elif message.role == 'tool' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
        {{- (message.content | trim) + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}
    {{- '# Tools\\n<tools>' }}
    {%- for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}
    {{- '\\n</tools>\\nCall with <tool_call>{"name": ..., "arguments": ...}</tool_call>' }}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last_question=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set ns.last_question = loop.index0 %}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content }}
        {{- '\\n</tool_response><|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set said = message.content or '' %}
        {%- set thought = '' %}
        {%- if '</think>' in said %}
            {%- set thought = said.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
            {%- set said = said.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last_question %}
            {{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- said }}
        {%- for call in message.tool_calls or [] %}
            {%- if said or not loop.first %}{{ '\\n' }}{% endif %}
            {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- (call.function.arguments | tojson) + '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

GEMMA_TEMPLATE = """\
{{- bos_token }}
{%- if messages[0].role == 'system' %}
    {{- raise_exception('System role not supported') }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant') }}
    {%- endif %}
    {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
    {{- (message.content | trim) + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}
"""


def make_model(
    folder: Path,
    shape: Shape,
    *,
    hidden: int = 64,
    layers: int = 2,
    vocabulary: int = 512,
    seed: int = 0,
    context: int = 1024,
    texts: Sequence[str] | None = None,
) -> Path:
    """Write a model and its tokenizer as a folder of the hub's style, and return the folder."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = make_tokenizer(shape, vocabulary, tuple(texts or TEXTS))
    tokenizer.model_max_length = context
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = _config(shape, (hidden, layers, vocabulary, context), tokenizer)
        chosen: Any = AutoModelForCausalLM
        model = chosen.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(
    shape: Shape, sizes: tuple[int, int, int, int], tokenizer: "PreTrainedTokenizerBase"
) -> Any:
    from transformers import Gemma2Config, LlamaConfig, Qwen3Config

    hidden, layers, vocabulary, context = sizes
    common: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": hidden * 2,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": hidden // 4,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if shape == "llama":
        return LlamaConfig(**common)
    if shape == "qwen":
        return Qwen3Config(**common, tie_word_embeddings=True)
    return Gemma2Config(**common, query_pre_attn_scalar=hidden // 4, sliding_window=256)


def make_tokenizer(shape: Shape, vocabulary: int, texts: Sequence[str]) -> Any:
    """Return a tokenizer of a family's own class that was trained on a few texts."""
    from transformers import GemmaTokenizer, LlamaTokenizer, Qwen2Tokenizer

    marked = list(SPECIAL[shape])
    if shape == "qwen":
        vocab, merges = _byte_pairs(texts, vocabulary - _UNUSED_ROWS - len(marked) - len(MARKUP))
        tokenizer: Any = Qwen2Tokenizer(vocab=vocab, merges=merges, eos_token="<|im_end|>")
        tokenizer.add_tokens([_special(text) for text in marked], special_tokens=True)
        tokenizer.add_tokens(list(MARKUP))
        tokenizer.chat_template = QWEN_TEMPLATE
        return tokenizer
    vocab, merges = _character_pairs(texts, marked, vocabulary)
    if shape == "llama":
        tokenizer = LlamaTokenizer(
            vocab=vocab,
            merges=merges,
            bos_token="<|begin_of_text|>",
            eos_token="<|eot_id|>",
            pad_token="<|end_of_text|>",
        )
        tokenizer.chat_template = LLAMA_TEMPLATE
    else:
        tokenizer = GemmaTokenizer(vocab=vocab, merges=merges)
        tokenizer.chat_template = GEMMA_TEMPLATE
    tokenizer.add_tokens([_special(text) for text in marked], special_tokens=True)
    return tokenizer


def _special(text: str) -> Any:
    from transformers import AddedToken

    return AddedToken(text, special=True, normalized=False)


def _byte_pairs(texts: Sequence[str], size: int) -> Tables:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False),
    )
    return _tables(trained)


def _character_pairs(texts: Sequence[str], marked: Sequence[str], size: int) -> Tables:
    """Return tables for a tokenizer that writes what it does not know as bytes, `<0x41>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    first = [*marked, *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(first), initial_alphabet=["▁", "\n"], show_progress=False
    )
    trained.train_from_iterator((_word_like(text) for text in texts), trainer)
    vocab, merges = _tables(trained)
    ordered = sorted(vocab, key=vocab.__getitem__)
    return {text: number for number, text in enumerate([*first, *ordered])}, merges


def _word_like(text: str) -> str:
    """Keep digits and marks apart from words, so that many texts share what is learned."""
    return re.sub(r"([^\w\s])", r" \1 ", text)


def _tables(trained: Any) -> Tables:
    model = json.loads(trained.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
