"""Small pretrained models with random weights, saved as their libraries save them; nothing is downloaded."""

from typing import Any

import torch

SMALL: dict[str, Any] = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 2,
    "vocab_size": 64,
    "decoder_start_token_id": 0,
}
CONTEXT = 64


def save_bolt(folder, seed=0):
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    settings = {
        "context_length": CONTEXT,
        "prediction_length": 4,
        "input_patch_size": 4,
        "input_patch_stride": 4,
        "quantiles": [0.1, 0.5, 0.9],
        "use_reg_token": True,
    }
    torch.manual_seed(seed)
    config = T5Config(**SMALL, pad_token_id=0)
    config.chronos_config, config.chronos_pipeline_class = settings, "ChronosBoltPipeline"
    ChronosBoltModelForForecasting(config).save_pretrained(folder)
    return folder


def save_first(folder, seed=0):
    from transformers import T5Config, T5ForConditionalGeneration

    settings = {
        "tokenizer_class": "MeanScaleUniformBins",
        "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
        "context_length": CONTEXT,
        "prediction_length": 4,
        "n_tokens": 64,
        "n_special_tokens": 2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "use_eos_token": True,
        "model_type": "seq2seq",
        "num_samples": 2,
        "temperature": 1.0,
        "top_k": 5,
        "top_p": 1.0,
    }
    torch.manual_seed(seed)
    config = T5Config(**SMALL, pad_token_id=0, eos_token_id=1)
    config.chronos_config = settings
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def save_second(folder, seed=0):
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig

    settings = {
        "context_length": CONTEXT,
        "output_patch_size": 4,
        "input_patch_size": 4,
        "input_patch_stride": 4,
        "quantiles": [0.1, 0.5, 0.9],
        "use_reg_token": True,
    }
    torch.manual_seed(seed)
    config = Chronos2CoreConfig(**{**SMALL, "vocab_size": 2})
    config.chronos_config, config.chronos_pipeline_class = settings, "Chronos2Pipeline"
    Chronos2Model(config).save_pretrained(folder)
    return folder


def save_timesfm(folder, seed=0, **changes):
    from transformers import TimesFm2_5Config, TimesFm2_5ModelForPrediction

    torch.manual_seed(seed)
    config = TimesFm2_5Config(
        patch_length=8,
        context_length=CONTEXT,
        horizon_length=4,
        output_quantile_len=4,
        num_hidden_layers=2,
        hidden_size=16,
        intermediate_size=16,
        head_dim=8,
        num_attention_heads=2,
        num_key_value_heads=2,
        **changes,
    )
    TimesFm2_5ModelForPrediction(config).save_pretrained(folder)
    return folder


def save_older_timesfm(folder, seed=0):
    from transformers import TimesFmConfig, TimesFmModelForPrediction

    torch.manual_seed(seed)
    config = TimesFmConfig(
        patch_length=8,
        context_length=CONTEXT,
        horizon_length=4,
        num_hidden_layers=2,
        hidden_size=16,
        intermediate_size=16,
        head_dim=8,
        num_attention_heads=2,
        use_positional_embedding=True,
    )
    TimesFmModelForPrediction(config).save_pretrained(folder)
    return folder


def save_patchtst(folder, seed=0, kind="PatchTSTForPretraining", **changes):
    import transformers

    torch.manual_seed(seed)
    sizes = {
        "num_input_channels": 2,
        "context_length": 16,
        "patch_length": 4,
        "patch_stride": 4,
        "d_model": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "ffn_dim": 16,
        **changes,
    }
    getattr(transformers, kind)(transformers.PatchTSTConfig(**sizes)).save_pretrained(folder)
    return folder
