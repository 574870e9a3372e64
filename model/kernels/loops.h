#pragma once

#include <cstdint>
#include <vector>

/// The inner loops of the CPU kernels, compiled once for each instruction set (loops.cpp, amx_attention.cpp) and chosen
/// at run time (dispatch.cpp). Plain pointers and sizes: nothing here knows tensors or threads. All matrices are
/// row-major and contiguous unless a stride is named. `Real`, float or double, is what is computed in; `Stored` is the
/// type of what comes from and goes to matmuls: Real, or BFloat16 with Real = float.
namespace dtrain::model::kernels {

/// A bfloat16 by its bits: the upper half of a float.
struct BFloat16 {
  std::uint16_t bits;
};

/// Dropout by counter-based random numbers: Philox4x32 (Salmon et al., 2011) with 7 rounds, which passes BigCrush; 16
/// bits an element. The number of element i of a site follows from (key, site, i) alone, so backward draws the mask
/// again instead of reading it from memory.
struct Dropout {
  std::uint64_t key = 0;
  std::uint32_t site = 0;
  /// The share that is dropped; 0 drops nothing.
  double probability = 0;
};

/// Multi-head attention over packed sequences (no padding). One item is one head of one sequence.
template <typename Real, typename Stored = Real>
struct Attention {
  const Stored* query;  // [tokens, heads * size]; rows `stride` apart, as key and value
  const Stored* key;    // [keys, heads * size], as value
  const Stored* value;
  std::int64_t stride;
  const std::int64_t* offsets;      // [sequences + 1]: of the queries
  const std::int64_t* key_offsets;  // [sequences + 1]: the same, or more keys a sequence
  std::int64_t heads;
  std::int64_t size;      // of one head
  std::int64_t max_keys;  // of a sequence, which has as many queries at most
  Real scale;             // of the scores
  Dropout dropout;        // on the probabilities
  Stored* output;         // [tokens, heads * size]
  Real* log_sum;          // [tokens, heads]: log of the sum of exponentials of the scores; null: not kept
  // Backward only:
  const Stored* output_gradient;  // [tokens, heads * size]
  Stored* query_gradient;         // [tokens, heads * size]; rows `gradient_stride` apart, as the two below
  Stored* key_gradient;           // [keys, heads * size], as the one below
  Stored* value_gradient;
  std::int64_t gradient_stride;
};

/// y = LayerNorm(dropout(input) + residual) * weight + bias (Ba et al., 2016; BERT's order).
template <typename Real, typename Stored = Real>
struct Norm {
  const Stored* input;   // [rows, columns]
  const Real* residual;  // [rows, columns] or null
  const Real* weight;    // [columns]
  const Real* bias;
  std::int64_t columns;
  Real epsilon;
  Dropout dropout;
  Real* output;
  Real* normalized;  // [rows, columns]: kept for backward; null: not kept
  Real* scale;       // [rows]: 1 / standard deviation
  // Backward only:
  const Real* output_gradient;
  Stored* input_gradient;   // null: not wanted
  Real* residual_gradient;  // the gradient before dropout; null: not wanted
  Real* weight_gradient;    // [columns], added to; null: not wanted
  Real* bias_gradient;      // likewise
};

/// sums[c] = the sum over the rows of rows[r][c], each column from the first row to the last in double: exact to the
/// last bit of `Real` but for its one rounding, and the same whoever computes which columns.
template <typename Real, typename Stored = Real>
struct RowSum {
  const Stored* rows;  // [.., columns]
  std::int64_t columns;
  const std::int64_t* places;  // [count]: of the rows; null: the first `count`
  std::int64_t count;
  bool adds;   // to what `sums` holds
  Real* sums;  // [columns]
};

/// A step of AdamW (Loshchilov and Hutter, 2019) with torch.optim.AdamW's arithmetic, element by element: the same bits
/// whatever stretches it is computed in. The factors are those of the step: gradient_factor clips, decay = 1 - learning
/// rate * weight decay, step_size = learning rate / (1 - beta1^t), root = sqrt(1 - beta2^t).
template <typename Real, typename Stored = Real>
struct AdamWStep {
  Real* values;
  const Real* gradients;
  Real* first_moments;
  Real* second_moments;
  Stored* copies;  // of the values, as matmuls take them; null: none
  Real gradient_factor;
  Real decay;
  Real beta2;
  Real rest1;  // 1 - beta1, from more digits than a float has
  Real rest2;
  Real step_size;
  Real root;
  Real epsilon;
};

template <typename Real, typename Stored = Real>
struct Loops {
  void (*attention_forward)(const Attention<Real, Stored>&, std::int64_t first_item, std::int64_t last_item);
  void (*attention_backward)(const Attention<Real, Stored>&, std::int64_t first_item, std::int64_t last_item);
  void (*norm_forward)(const Norm<Real, Stored>&, std::int64_t first_row, std::int64_t last_row);
  void (*norm_backward)(const Norm<Real, Stored>&, std::int64_t first_row, std::int64_t last_row);
  /// output[i] = dropout(input)[i] for i in [first, last), `first` a multiple of 128; may be in place.
  void (*dropout)(const Dropout&, const Stored* input, Stored* output, std::int64_t first, std::int64_t last);
  void (*sum_rows)(const RowSum<Real, Stored>&, std::int64_t first_column, std::int64_t last_column);
  /// In double, always in the same order. Of floats: the same bits with every instruction set.
  double (*sum_of_squares)(const Real* values, std::int64_t count);
  void (*adamw)(const AdamWStep<Real, Stored>&, std::int64_t first, std::int64_t last);
  /// values[i] *= factor.
  void (*scale)(Real* values, Real factor, std::int64_t count);
};

/// The loops as compiled for one instruction set.
struct InstructionSet {
  const char* name;
  const Loops<float>* floats;
  const Loops<double>* doubles;
  const Loops<float, BFloat16>* bfloat16s;
};

/// Those that this machine can run ("baseline", "avx2", "avx512", "amx"), the plainest first. "amx" has attention of
/// bfloat16 by tiles, and is AVX-512 elsewhere.
const std::vector<InstructionSet>& instruction_sets();

/// The loops for the last of them.
template <typename Real, typename Stored = Real>
const Loops<Real, Stored>& loops();

}  // namespace dtrain::model::kernels
