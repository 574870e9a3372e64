"""The adapters of PEFT that dtrain is compared with: a line a case; the tests loop over them."""

import dataclasses

import reference_models as reference
import torch
from peft import (
    AdaLoraConfig,
    BOFTConfig,
    FourierFTConfig,
    HRAConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    RandLoraConfig,
    TaskType,
    VeraConfig,
)
from peft.tuners import boft

# Else it tries to build a CUDA extension for every layer.
boft.layer.get_fbd_cuda = lambda: None


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    kind: type  # of PEFT's configuration
    settings: dict
    base: str = "odd_relu"
    # Whether only PEFT's own forward pass can compute it, which pools as the architecture does.
    own_forward: bool = False
    only_pooler: bool = False
    lengths: tuple = (31, 17, 1, 8, 64, 2)
    # Whether fifty steps of training are compared, on a model without dropout in the place of `base`.
    trajectory: bool = False
    # Whether PEFT computes in double what it is asked to.
    exact: bool = True
    # How much faster B learns in fifty steps, and all vectors.
    loraplus_lr_ratio: float = 1
    # dtrain's spec, where PEFT's files do not say what trains, such as a network that makes a prompt, or how fast.
    trained_as: str = ""

    def config(self):
        return self.kind(task_type=TaskType.SEQ_CLS, **self.settings)

    def poolings(self, config):
        every = reference.poolings_of(config)
        return every[:1] if self.own_forward or self.only_pooler else every

    def file_name(self, name):
        """A parameter's name in the adapter's file, or that of a parameter that PEFT does not save."""
        return name.replace(".default.", ".") if self.trained_as and "prompt_encoder" in name else file_name(name)

    def save(self, peft, directory):
        """The adapter as PEFT saves it, and what it leaves out."""
        peft.save_pretrained(directory)
        if self.trained_as:
            (directory / "spec.txt").write_text(self.trained_as)
            reference.write_tensors(directory / "start.safetensors", {
                self.file_name(name): value for name, value in peft.named_parameters() if value.requires_grad})


CASES = [
    Case("lora_query_value", LoraConfig, dict(r=8, lora_alpha=16, target_modules=["query", "value"]), trajectory=True),
    # A pooling that leaves PEFT's adapter of the pooler unused is none of PEFT's.
    Case("lora_all_linear", LoraConfig, dict(r=4, lora_alpha=6, target_modules="all-linear", bias="all"),
         only_pooler=True),
    Case("lora_dense_biases", LoraConfig, dict(r=3, lora_alpha=5, bias="lora_only", target_modules=[
        "attention.output.dense", "intermediate.dense"])),
    Case("lora_plus", LoraConfig, dict(r=4), trajectory=True, loraplus_lr_ratio=16,
         trained_as="lora:r=4:loraplus_lr_ratio=16"),
    Case("lora_roberta", LoraConfig, dict(r=4), base="roberta"),
    Case("lora_distilbert", LoraConfig, dict(r=4, target_modules=["q_lin", "v_lin"]), base="distilbert"),
    Case("lora_patterns", LoraConfig, dict(
        r=4, use_rslora=True, target_modules=["query", "value", "intermediate.dense"], alpha_pattern={"value": 12.5},
        rank_pattern={"layer.1.attention.self.value": 2, "[^.]*.dense": 3, "query": 5})),
    Case("lora_layers", LoraConfig, dict(target_modules=["query", "value"], layers_to_transform=[0, 2],
                                         layers_pattern="layer")),
    Case("lora_one_layer", LoraConfig, dict(layers_to_transform=1, target_modules=["query", "output.dense", "mlp"])),
    Case("lora_expressions", LoraConfig, dict(target_modules=r".*\.[02]\..*\.(query|key)",
                                              exclude_modules=r".*2.*key")),
    Case("lora_pooler_saved", LoraConfig, dict(modules_to_save=["pooler"], target_modules=["query", "dense"]),
         only_pooler=True),
    Case("ia3_pooler_saved", IA3Config, dict(modules_to_save=["pooler"]), only_pooler=True),
    Case("norm_pooler_saved", LNTuningConfig, dict(modules_to_save=["pooler"], target_modules=["LayerNorm"]),
         only_pooler=True),
    Case("lora_bias", LoraConfig, dict(lora_bias=True, lora_alpha=3)),
    Case("lora_orthogonal", LoraConfig, dict(r=4, init_lora_weights="orthogonal", fan_in_fan_out=True)),
    # Its configuration says at length how the matrices would be chosen.
    Case("lora_eva", LoraConfig, dict(r=4, init_lora_weights="eva")),
    Case("lora_dora", LoraConfig, dict(r=4, lora_alpha=6, use_dora=True, target_modules=["query", "output.dense"]),
         trajectory=True),
    Case("lora_dora_roberta", LoraConfig, dict(use_dora=True, bias="all"), base="roberta"),
    Case("lora_pissa", LoraConfig, dict(r=4, lora_alpha=6, init_lora_weights="pissa", target_modules=[
        "query", "intermediate.dense", "output.dense"]), trajectory=True),
    Case("lora_olora", LoraConfig, dict(r=4, lora_alpha=6, use_rslora=True, init_lora_weights="olora"),
         trajectory=True),
    Case("lora_olora_dora", LoraConfig, dict(r=4, use_dora=True, init_lora_weights="olora", target_modules=["lin1"]),
         base="distilbert"),

    Case("adalora", AdaLoraConfig, dict(init_r=5, target_r=2, tinit=4, tfinal=7, deltaT=3, total_step=50, beta1=0.7,
                                        orth_reg_weight=0.3, target_modules=["query", "output.dense"]),
         trajectory=True),
    Case("adalora_roberta", AdaLoraConfig, dict(total_step=9, lora_alpha=0, bias="all"), base="roberta"),
    Case("adalora_distilbert", AdaLoraConfig, dict(init_r=3, target_r=1, total_step=9, bias="lora_only",
                                                   target_modules=["q_lin", "lin1"]), base="distilbert"),

    Case("loha", LoHaConfig, dict(r=3, alpha=5, target_modules=["query", "intermediate.dense"]), trajectory=True),
    Case("loha_patterns", LoHaConfig, dict(r=3, rank_pattern={"value": 2}, alpha_pattern={"query": 4}), base="roberta"),
    Case("loha_distilbert", LoHaConfig, dict(r=2, target_modules=["q_lin", "lin2"], use_effective_conv2d=True),
         base="distilbert"),

    Case("lokr", LoKrConfig, dict(r=2, alpha=5, target_modules=["query", "intermediate.dense"]), trajectory=True),
    Case("lokr_whole", LoKrConfig, dict(r=8, alpha=5, target_modules=["value", "output.dense"])),
    Case("lokr_both", LoKrConfig, dict(r=1, alpha=3, decompose_both=True, decompose_factor=4), base="roberta_gelu"),
    Case("lokr_distilbert", LoKrConfig, dict(r=2, target_modules=["v_lin", "lin1"], init_weights="lycoris"),
         base="distilbert"),

    Case("vera", VeraConfig, dict(r=6, target_modules=["query", "intermediate.dense", "output.dense"]),
         trajectory=True),
    Case("vera_drawn_again", VeraConfig, dict(r=5, projection_prng_key=3, save_projection=False, bias="vera_only"),
         base="roberta"),
    Case("vera_distilbert", VeraConfig, dict(r=6, d_initial=0.3, target_modules=["q_lin", "lin1"]), base="distilbert"),

    Case("oft", OFTConfig, dict(oft_block_size=8, target_modules=["query", "intermediate.dense"]), trajectory=True),
    Case("oft_exact", OFTConfig, dict(oft_block_size=8, use_cayley_neumann=False, target_modules=[
        "value", "output.dense"]), trajectory=True),
    Case("oft_shared", OFTConfig, dict(r=4, oft_block_size=0, block_share=True, num_cayley_neumann_terms=3,
                                       bias="oft_only", module_dropout=0.1), base="roberta"),
    Case("oft_terms", OFTConfig, dict(oft_block_size=16, num_cayley_neumann_terms=8, target_modules=["q_lin", "lin2"]),
         base="distilbert"),
    # Numbers that divide no inputs, which PEFT takes the nearest divisors for; here 8, and 10 beside 13.
    Case("oft_adjusted", OFTConfig, dict(oft_block_size=7)),
    Case("oft_adjusted_apart", OFTConfig, dict(oft_block_size=11, target_modules=["query", "output.dense"])),
    Case("oft_adjusted_blocks", OFTConfig, dict(r=7, oft_block_size=0), base="roberta"),
    # In float PEFT has brought the matrices within their bound before it computes in double.
    Case("oft_constrained", OFTConfig, dict(oft_block_size=8, coft=True, eps=0.5), exact=False),

    Case("boft", BOFTConfig, dict(target_modules=["query", "output.dense"]), trajectory=True),
    Case("boft_blocks", BOFTConfig, dict(boft_block_size=0, boft_block_num=6, bias="boft_only"), base="roberta"),
    Case("randlora", RandLoraConfig, dict(r=6, randlora_alpha=20, target_modules=[
        "query", "intermediate.dense", "output.dense"]), trajectory=True),
    Case("randlora_sparse", RandLoraConfig, dict(r=7, randlora_alpha=20, sparse=True, save_projection=False,
                                                 projection_prng_key=3), base="roberta"),
    Case("randlora_very_sparse", RandLoraConfig, dict(r=16, randlora_alpha=20, very_sparse=True, target_modules=[
        "v_lin", "lin2"]), base="distilbert"),

    # Before a norm a change of all outputs alike has no gradient but noise, whose steps no two programs share.
    Case("fourierft", FourierFTConfig, dict(n_frequency=50, scaling=20.0, target_modules=[
        "query", "intermediate.dense"]), exact=False, trajectory=True),
    Case("fourierft_pattern", FourierFTConfig, dict(
        n_frequency=50, scaling=20.0, n_frequency_pattern={"layer.1.attention.self.value": 20, "query": 30}),
        exact=False),
    Case("fourierft_roberta", FourierFTConfig, dict(n_frequency=30, random_loc_seed=7, bias="fourier_only"),
         base="roberta", exact=False),
    Case("fourierft_distilbert", FourierFTConfig, dict(n_frequency=40, target_modules=["q_lin", "lin2"]),
         base="distilbert", exact=False),

    Case("boft_distilbert", BOFTConfig, dict(boft_block_size=8, target_modules=["q_lin", "lin1"]), base="distilbert"),

    Case("hra", HRAConfig, dict(r=6, target_modules=["query", "output.dense"]), trajectory=True),
    Case("hra_orthogonal", HRAConfig, dict(r=4, apply_GS=True, bias="hra_only"), base="roberta", trajectory=True),
    Case("hra_distilbert", HRAConfig, dict(r=3, target_modules=["q_lin", "lin1"]), base="distilbert"),

    Case("norm", LNTuningConfig, dict(target_modules=["LayerNorm"]), trajectory=True),
    Case("norm_expression", LNTuningConfig, dict(target_modules=r".*\.layer\.[02]\.output\.LayerNorm")),
    Case("norm_but_some", LNTuningConfig, dict(target_modules=["LayerNorm"], exclude_modules=["output.LayerNorm"])),
    Case("norm_roberta", LNTuningConfig, dict(target_modules=["LayerNorm"]), base="roberta"),
    Case("norm_distilbert", LNTuningConfig, dict(target_modules=["LayerNorm", "sa_layer_norm", "output_layer_norm"]),
         base="distilbert"),

    Case("ia3", IA3Config, {}, trajectory=True),
    Case("ia3_outputs", IA3Config, dict(target_modules=["query", "intermediate.dense"], feedforward_modules=[])),
    Case("ia3_pooler", IA3Config, dict(target_modules=["value", "dense"], feedforward_modules=["dense"]),
         only_pooler=True),
    # The expression of what is scaled at the input matches more than is wrapped.
    Case("ia3_wide_expression", IA3Config, dict(target_modules=r".*\.(key|output\.dense)",
                                                feedforward_modules=r".*\.dense", exclude_modules=r".*1\.output.*")),
    Case("ia3_expressions", IA3Config, dict(target_modules=r".*\.(key|output\.dense)",
                                            feedforward_modules=r".*\d\.output\.dense")),
    Case("ia3_roberta", IA3Config, {}, base="roberta_gelu"),
    Case("ia3_distilbert", IA3Config, dict(target_modules=["k_lin", "v_lin", "lin2"], feedforward_modules=["lin2"]),
         base="distilbert"),

    Case("prefix", PrefixTuningConfig, dict(num_virtual_tokens=5), trajectory=True),
    Case("prefix_roberta", PrefixTuningConfig, dict(num_virtual_tokens=30), base="roberta_gelu"),
    Case("prefix_projection", PrefixTuningConfig,
         dict(num_virtual_tokens=6, prefix_projection=True, encoder_hidden_size=24), trajectory=True,
         trained_as="prefix:num_virtual_tokens=6:prefix_projection=true:encoder_hidden_size=24"),
    Case("prefix_projection_roberta", PrefixTuningConfig, dict(num_virtual_tokens=3, prefix_projection=True),
         base="roberta", trained_as="prefix:num_virtual_tokens=3:prefix_projection=true"),

    Case("prompt", PromptTuningConfig, dict(num_virtual_tokens=5), trajectory=True),
    Case("prompt_words", PromptTuningConfig, dict(num_virtual_tokens=17, prompt_tuning_init="SAMPLE_VOCAB"),
         base="one_type"),
    Case("prompt_roberta", PromptTuningConfig, dict(num_virtual_tokens=4), base="roberta"),
    Case("prompt_distilbert", PromptTuningConfig,
         dict(num_virtual_tokens=7, token_dim=40, num_attention_heads=2, num_layers=2), base="distilbert_relu"),

    Case("p_tuning", PromptEncoderConfig, dict(num_virtual_tokens=5), trajectory=True,
         trained_as="p-tuning:num_virtual_tokens=5"),
    Case("p_tuning_narrow", PromptEncoderConfig,
         dict(num_virtual_tokens=3, encoder_hidden_size=12, token_dim=48, num_attention_heads=3, num_layers=3),
         base="distilbert", trained_as="p-tuning:num_virtual_tokens=3:encoder_hidden_size=12"),
    Case("p_tuning_lstm", PromptEncoderConfig,
         dict(num_virtual_tokens=6, encoder_reparameterization_type="LSTM", encoder_hidden_size=20), trajectory=True,
         trained_as="p-tuning:num_virtual_tokens=6:encoder_reparameterization_type=LSTM:encoder_hidden_size=20"),
    Case("p_tuning_lstm_roberta", PromptEncoderConfig,
         dict(num_virtual_tokens=4, encoder_reparameterization_type="LSTM", encoder_num_layers=3), base="roberta",
         trained_as="p-tuning:num_virtual_tokens=4:encoder_reparameterization_type=LSTM:encoder_num_layers=3"),
]


def file_name(name):
    """A parameter's name in the adapter's file."""
    name = name.replace(".default.", ".").replace("modules_to_save.", "").removesuffix(".default")
    name = name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
    return "prompt_embeddings" if name == "prompt_encoder.embedding.weight" else name


def disturb(model):
    """Moves what trains away from a start at which half of it has no gradient."""
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value) * 0.1)


def logits(peft, batch, pooling):
    """As the documentation says to pool in Python where it is not the architecture's own way."""
    inputs = batch.padded()
    if pooling == ("pooler" if peft.config.model_type == "bert" else "cls"):
        return peft(**inputs).logits
    if not peft.active_peft_config.is_prompt_learning:
        return reference.logits(peft.get_base_model(), batch, pooling)
    # The encoder sees virtual tokens as it sees others, and so does the pooling; those of a prefix it does not see.
    base, outputs = peft.get_base_model(), []
    handle = getattr(base, base.base_model_prefix).register_forward_hook(lambda *call: outputs.append(call[-1][0]))
    peft(**inputs)
    handle.remove()
    hidden = outputs[0]
    mask = torch.nn.functional.pad(inputs["attention_mask"], (hidden.shape[1] - inputs["attention_mask"].shape[1], 0),
                                   value=1).unsqueeze(-1).to(hidden.dtype)
    pooled = (hidden * mask).sum(1) / mask.sum(1) if pooling == "mean" else hidden[:, 0]
    return reference.head(base, pooled)
