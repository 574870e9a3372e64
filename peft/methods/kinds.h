#pragma once

#include "peft/method_kind.h"

/// The kinds of method, one file each. registry.cpp lists them in the order of `dtrain methods`.
namespace dtrain::peft {

/// Trains everything.
MethodKind full_kind();

/// Trains the classifier over a frozen body: linear probing.
MethodKind head_kind();

/// Trains the top k layers and what is above them.
MethodKind layers_kind();

/// BitFit (Ben Zaken et al., 2022, ACL): every bias of the model trains, those of the norms among them, and the head.
MethodKind bitfit_kind();

/// The layer norms train (Qi et al., 2022; Zhao et al., 2024, ICLR), and the head: PEFT's LN tuning.
MethodKind norm_kind();

/// Linear probing, then fine-tuning of everything from there (Kumar et al., 2022, ICLR): so that a head that knows
/// nothing does not distort the features.
MethodKind lp_ft_kind();

/// Gradual unfreezing (Howard and Ruder, 2018, ACL): the head, then one more layer from the top at a time, then
/// everything.
MethodKind gradual_kind();

/// LoRA (Hu et al., 2022, ICLR): W x + (lora_alpha / r) B A dropout(x), with A [r, in] and B [out, r], B zero at first.
MethodKind lora_kind();

/// AdaLoRA (Zhang et al., 2023, ICLR): the update of a linear layer is B diag(E) A, and during the run the
/// parts of all linear layers that matter least are cut, so that the others get the rank.
MethodKind adalora_kind();

/// VeRA (Kopiczko et al., 2024, ICLR): W x + b * (B (d * (A dropout(x)))), where all linear layers share the frozen
/// random A and B and each has its own vectors b [out], zero at first, and d [r].
MethodKind vera_kind();

/// LoHa (Hyeon-Woo et al., 2022, ICLR; as in LyCORIS): W x + (alpha / r) ((A1 B1) * (A2 B2)) x, with A1, A2 [out, r],
/// B1, B2 [r, in] and the two matrices multiplied element by element, so that its rank is up to r squared.
MethodKind loha_kind();

/// LoKr (Yeh et al., 2024, ICLR; Edalati et al., 2022, as KronA): W x + (alpha / r) (W1 kron W2) x, where the two
/// matrices, of the sizes that divide the linear layer's most evenly, may in turn be products of low rank.
MethodKind lokr_kind();

/// OFT (Qiu et al., 2023, NeurIPS), as PEFT computes it (OFTv2: Qiu et al., 2025, EMNLP): W R x + b, where R rotates
/// the input block by block. R is Cayley's map of skew-symmetric matrices, or the first terms of its Neumann series,
/// which PEFT takes of the matrices with the opposite sign.
MethodKind oft_kind();

/// BOFT (Liu et al., 2024, ICLR): s * (W M x) + b, where M is a product of block-wise rotations between which the
/// columns are shuffled like the butterflies of a fast Fourier transform, and s scales the outputs.
MethodKind boft_kind();

/// Householder reflection adaptation (Yuan et al., 2024, NeurIPS), as PEFT computes it: W H_1 ... H_r x + b, where
/// H_i = I - 2 u_i u_i' reflects the input along a vector of length 1. With apply_GS the vectors are made orthogonal
/// first. Without, it starts from pairs of equal vectors, which cancel.
MethodKind hra_kind();

/// RandLoRA (Albert et al., 2025, ICLR): the weight's change is a sum of so many frozen random products of rank r that
/// it can have full rank. All linear layers share the random matrices; each trains how much of every direction it
/// takes.
MethodKind randlora_kind();

/// FourierFT (Gao et al., 2024, ICML): the weight's change is the real part of the inverse Fourier transform of a
/// matrix that is zero but for n_frequency trained numbers at random places, the same in linear layers of the same
/// size.
MethodKind fourierft_kind();

/// Two adapters a layer, after the self-attention and after the feed-forward network (Houlsby et al., 2019, ICML):
/// adapter-hub's double_seq_bn.
MethodKind houlsby_kind();

/// One adapter a layer, after the feed-forward network (Pfeiffer et al., 2021, EACL): adapter-hub's seq_bn.
MethodKind pfeiffer_kind();

/// One adapter a layer, beside the feed-forward network (He et al., 2022, ICLR): adapter-hub's par_bn.
MethodKind parallel_kind();

/// Compacter (Karimi Mahabadi et al., 2021, NeurIPS): Houlsby's adapters, whose linear layers are hypercomplex and of
/// low rank. adapter-hub's compacter; mh_adapter=false:original_ln_before=true is its compacter++.
MethodKind compacter_kind();

/// (IA)3 (Liu et al., 2022, NeurIPS): a vector scales the output of chosen linear layers, y = l * (W x + b), or, of
/// those that end a sub-layer, the input, y = W (l * x) + b.
MethodKind ia3_kind();

/// Prefix tuning (Li and Liang, 2021, ACL): keys and values of virtual tokens in every layer, which the tokens of all
/// examples attend to. They have positions, before the examples' own, and no hidden states: pooling does not see them.
MethodKind prefix_kind();

/// Prompt tuning (Lester et al., 2021, EMNLP): embeddings of virtual tokens in front of every example. The encoder sees
/// them as it sees words: pooling by the first token reads the first of them, and the mean is over theirs, too.
MethodKind prompt_kind();

/// P-tuning (Liu et al., 2021, arXiv:2103.10385): prompt tuning whose embeddings a small network computes, with an LSTM
/// over the virtual tokens or without. Pooling sees the virtual tokens as prompt tuning's.
MethodKind p_tuning_kind();

/// Mix-and-match adapters (He et al., 2022, ICLR): a prefix, and adapters beside the feed-forward networks.
/// adapter-hub's mam.
MethodKind mam_kind();

/// UniPELT (Mao et al., 2022, ACL): a prefix, Pfeiffer's adapters and LoRA, each under a gate that opens by example.
/// adapter-hub's unipelt.
MethodKind unipelt_kind();

}  // namespace dtrain::peft
