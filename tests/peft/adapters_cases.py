"""The adapters of adapter-hub that dtrain is compared with: a line a case; the tests loop over them."""

import dataclasses
import re

import adapters
import reference_models as reference
import torch
from adapters import (
    CompacterConfig,
    ConfigUnion,
    DoubleSeqBnConfig,
    LoRAConfig,
    MAMConfig,
    ParBnConfig,
    PrefixTuningConfig,
    SeqBnConfig,
    UniPELTConfig,
)

NAME = "my task"  # what the adapter is called there


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    config: object
    base: str = "new_gelu"
    safetensors: bool = True
    lengths: tuple = (31, 17, 1, 8, 64, 2)
    # Whether fifty steps of training are compared, on a model without dropout in the place of `base`.
    trajectory: bool = False

    def may_be_padded(self):
        return len(set(self.lengths)) > 1

    def poolings(self, config):
        return reference.poolings_of(config)


CASES = [
    Case("houlsby", DoubleSeqBnConfig(), trajectory=True),
    Case("houlsby_distilbert", DoubleSeqBnConfig(reduction_factor=3, non_linearity="gelu"), base="distilbert"),
    # torch.save's files, the package's default, which alone can hold the norm that ln_before gives two names.
    Case("houlsby_norms", DoubleSeqBnConfig(reduction_factor=2.5, ln_before=True, ln_after=True, scaling=0.7),
         base="odd_relu", safetensors=False),
    Case("houlsby_residual_first", DoubleSeqBnConfig(adapter_residual_before_ln=True, ln_after=True,
                                                     non_linearity="leakyrelu", scaling="channel"), trajectory=True),
    Case("pfeiffer", SeqBnConfig(), trajectory=True),
    Case("pfeiffer_roberta", SeqBnConfig(reduction_factor={"1": 4, "default": 12}, leave_out=[0]), base="roberta"),
    Case("pfeiffer_distilbert", SeqBnConfig(non_linearity="tanh", scaling="learned"), base="distilbert"),
    Case("pfeiffer_after_the_norm", SeqBnConfig(residual_before_ln=False, non_linearity="gelu_new"), base="one_type"),
    Case("pfeiffer_after_the_sum", SeqBnConfig(residual_before_ln="post_add", mh_adapter=True)),
    Case("pfeiffer_without_norm", SeqBnConfig(original_ln_before=False, original_ln_after=False)),
    # Its gate averages over padding, too.
    Case("pfeiffer_gate", SeqBnConfig(use_gating=True), lengths=(20, 20, 20, 20)),
    Case("parallel", ParBnConfig(), trajectory=True),
    Case("parallel_roberta", ParBnConfig(reduction_factor=0.5, ln_before=True, ln_after=True), base="roberta",
         safetensors=False),
    Case("parallel_distilbert", ParBnConfig(scaling="learned", mh_adapter=True), base="distilbert"),
    Case("compacter", CompacterConfig(reduction_factor=4), trajectory=True),
    Case("compacter_full_blocks", CompacterConfig(reduction_factor=5, factorized_phm_W=False, shared_phm_rule=False),
         base="odd_relu"),
    Case("compacter_roberta", CompacterConfig(reduction_factor=2, phm_dim=2, phm_rank=3, factorized_phm_rule=True,
                                              phm_bias=False, mh_adapter=False, original_ln_before=True),
         base="roberta"),
    # A prefix is there once more in every layer.
    Case("mam", MAMConfig(), safetensors=False),
    Case("mam_roberta", ConfigUnion(PrefixTuningConfig(prefix_length=3, bottleneck_size=20),
                                    ParBnConfig(reduction_factor=3, scaling=2.0)), base="roberta", safetensors=False,
         trajectory=True),
    Case("mam_distilbert", MAMConfig(PrefixTuningConfig(bottleneck_size=9)), base="distilbert", safetensors=False),
    # Its gates average over padding, too.
    Case("unipelt", UniPELTConfig(), safetensors=False, lengths=(20, 20, 20, 20)),
    Case("unipelt_roberta", UniPELTConfig(
        prefix_tuning=PrefixTuningConfig(prefix_length=4, bottleneck_size=11, use_gating=True),
        lora=LoRAConfig(r=3, use_gating=True)), base="roberta", safetensors=False, lengths=(9, 9, 9),
         trajectory=True),
    Case("unipelt_distilbert", UniPELTConfig(), base="distilbert", safetensors=False, lengths=(30, 30)),
    Case("compacter_distilbert", CompacterConfig(reduction_factor=4), base="distilbert"),
]


def file_name(name):
    """A parameter's name as dtrain has it. The norm of ln_before and a prefix have several."""
    in_a_layer = r"(encoder|transformer)\.layer\.\d+\.attention(\.self)?\.prefix_tuning\.pool\."
    name = re.sub(in_a_layer, "prefix_tuning.", name)
    return name.replace(f".{NAME}.", ".dtrain.").replace(".adapter_norm_before.", ".adapter_down.0.")


def adapted(model, case):
    """The model with an adapter that is far from its start, and what trains, by its names in `model`."""
    adapters.init(model)
    model.add_adapter(NAME, config=case.config)
    model.train_adapter(NAME)
    model.eval()
    trainable = {key: value for key, value in model.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for value in trainable.values():
            value.add_(torch.randn_like(value) * 0.1)
    return model, trainable


def save(model, case, directory):
    directory.mkdir(parents=True, exist_ok=True)
    model.save_adapter(directory, NAME, use_safetensors=case.safetensors)
