"""A tiny configuration of every causal-LM type that transformers knows."""

from dataclasses import fields, is_dataclass
from typing import Any

from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TYPES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

SMALL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "emb_dim": 32, "embedding_size": 32,
    "n_embed": 32, "ffn_dim": 48, "intermediate_size": 48, "decoder_ffn_dim": 48, "encoder_ffn_dim": 48, "n_inner": 48,
    "d_ff": 48, "d_inner": 48, "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4, "num_layers": 4,
    "decoder_layers": 2, "encoder_layers": 2, "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4,
    "decoder_attention_heads": 4, "encoder_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 64, "n_positions": 64, "max_seq_len": 64, "n_ctx": 64, "moe_intermediate_size": 16,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_num_experts": 4, "n_group": 1, "topk_group": 1, "kv_lora_rank": 16, "q_lora_rank": 16,
    "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12, "sliding_window": 8, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "shared_expert_intermediate_size": 16, "shared_intermediate_size": 16,
    "mamba_d_state": 8, "mamba_d_head": 8, "mamba_n_heads": 8, "mamba_n_groups": 1, "mamba_expand": 2,
    "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "is_decoder": True, "index_topk": 4, "attention_chunk_size": 8, "index_n_heads": 2, "index_head_dim": 8,
    "axial_pos_embds": False, "expert_ffn_hidden_size": 16,
    "ffn_hidden_size": 48, "moe_topk": 2, "mlp_dim": 32, "global_attn_indexes": [0], "depth": 1, "mel_bins": 8,
    "audio_vocab_size": 32, "zero_expert_num": 0, "vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 8,
}  # fmt: skip
"""Small values for fields that many configurations share."""


LATENT = {"num_key_value_heads": 4}
"""Latent attention expands to as many key heads as query heads."""
LATENT_HYBRID = {**LATENT, "layer_types": ["linear_attention", "full_attention"] * 2}

PERSIMMON = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
INDEXED = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 4,
}
SPECIAL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots3_note_text"), LATENT),
    **dict.fromkeys(("glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "minicpm3", "youtu"), LATENT),
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "bailing_hybrid": LATENT_HYBRID,
    "kimi_linear": LATENT_HYBRID,
    "minimax_m3_vl_text": {
        "layer_types": ["minimax_m3_sparse", "full_attention"] * 2,
        "index_block_size": 4,
        "index_topk_blocks": 2,
    },
    **dict.fromkeys(("qwen4_exp", "qwen4_exp_text"), INDEXED),
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "cpmant": {"dim_head": 8, "prompt_length": 2},
    "ernie4_5_moe": {"moe_k": 2},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "gptj": {"rotary_dim": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "mamba2": {"num_heads": 8},
    "reformer": {"attention_head_size": 8},
    "roc_bert": {"pronunciation_vocab_size": 96, "shape_vocab_size": 96},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "num_key_value_heads": 4},
    "gemma3n_text": {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 16},
    },
    "fuyu": {"text_config": {"model_type": "persimmon", **{name: SMALL[name] for name in PERSIMMON}}},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}
"""What a type needs besides."""


UNBUILT = {
    "dots3_note": "needs its vision tower at full size; its text part is dots3_note_text",
    "gemma3n": "needs the timm package; its text part is gemma3n_text",
    "gemma4_assistant": "drafts for another model, whose keys and values it shares",
    "gemma4_unified_assistant": "drafts for another model, whose keys and values it shares",
    "musicgen": "writes audio, and transformers cannot build it from its own configuration",
    "musicgen_melody": "writes audio, and transformers cannot build it from its own configuration",
}
"""Types that are not tried, and why."""


def config(kind: str, **changes: Any) -> Any:
    """A configuration of a few thousand weights."""
    return _small(CONFIG_MAPPING[kind], {**SPECIAL.get(kind, {}), **changes})


def _small(cls: Any, changes: dict[str, Any]) -> Any:
    names = {f.name for f in fields(cls)} if is_dataclass(cls) else set(SMALL)
    given = {name: value for name, value in SMALL.items() if name in names}
    for name in getattr(cls, "sub_configs", {}):
        if (sub := _sub_config(cls, name)) is not None:
            given[name] = _small(sub, SPECIAL.get(sub.model_type, {})).to_dict()
    return cls(**{**given, **changes})


def _sub_config(cls: Any, name: str) -> Any:
    default = getattr(cls, "sub_configs_defaults", {}).get(name)
    kind = getattr(default, "model_type", None)
    if kind in CONFIG_MAPPING:
        return CONFIG_MAPPING[kind]
    return cls.sub_configs[name] if is_dataclass(cls.sub_configs[name]) else None
