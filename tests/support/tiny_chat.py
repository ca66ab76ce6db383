"""A chat model of Transformers, tiny and random, made here: no weights come from anywhere."""

import warnings

import mlflow
import pytest

WORDS = ("<unk>", "<s>", "</s>", "hello", "you", "I", "am", "tiny", "and", "random", "user", "assistant", ":")


def register_tiny_chat(name: str) -> None:
    """Log it with `task="llm/v1/chat"` and register it."""
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }} : {{ message['content'] }} {% endfor %}assistant :"
    )
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    )
    with mlflow.start_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.transformers.log_model(
            transformers_model={"model": model, "tokenizer": tokenizer},
            name="model",
            task="llm/v1/chat",
            registered_model_name=name,
            pip_requirements=["mlflow", "torch", "transformers"],
        )
