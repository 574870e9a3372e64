// Attention whose matmuls take bfloat16 as it is stored and sum in float, by the tiles of AMX; probabilities and their
// gradients are rounded to bfloat16 for them, as autocast does.
#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "model/kernels/attention_item.h"
#include "model/kernels/loops.h"
#include "model/kernels/random_loops.h"
#include "model/kernels/stored_loops.h"
#include "model/kernels/tile_matmul.h"
#include "model/kernels/tile_softmax.h"

namespace dtrain::model::kernels::avx512 {
extern const Loops<float, BFloat16> bfloat16_loops;
}

namespace dtrain::model::kernels::DTRAIN_ISA {

void attention_forward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item);
void attention_backward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item);

namespace {

// `count` numbers times `factor`, rounded.
inline void narrow_times(const float* from, float factor, std::int64_t count, BFloat16* to) {
  for (std::int64_t i = 0; i < count; i += 16) {
    const auto lanes = lanes_before(count, i);
    const __m512 numbers = _mm512_mul_ps(_mm512_loadu_ps(from + i), _mm512_set1_ps(factor));
    _mm256_mask_storeu_epi16(to + i, lanes, (__m256i)_mm512_cvtneps_pbh(numbers));
  }
}

// The columns of `from` [size, width] times `factor`, rounded, as the first `count` rows of `to`. `pairs` and `turned`
// are scratch, [size / 2, width] and [width, size / 2].
inline void narrow_columns(Matrix<const float> from, float factor, std::int64_t size, std::int64_t count,
                           Matrix<std::uint32_t> pairs, Matrix<std::uint32_t> turned, Matrix<BFloat16> to) {
  const __m512 factors = _mm512_set1_ps(factor);
  for (std::int64_t p = 0; p < turned.stride; ++p) {
    for (std::int64_t j = 0; j < pairs.stride; j += 16) {
      const __m512 lower = _mm512_mul_ps(_mm512_loadu_ps(from.row(2 * p) + j), factors);
      const __m512 upper = _mm512_mul_ps(_mm512_loadu_ps(from.row(2 * p + 1) + j), factors);
      _mm512_storeu_si512(pairs.row(p) + j, interleaved(as_bfloat16(lower, upper)));
    }
  }
  transpose_words(pairs.readable(), turned.stride, pairs.stride, turned);
  for (std::int64_t j = 0; j < count; ++j) {
    for (std::int64_t d = 0; d < size; d += kBlock) {
      _mm512_mask_storeu_epi16(to.row(j) + d, words_before(size, d), _mm512_loadu_si512(turned.row(j) + d / 2));
    }
  }
}

// The product of two rows of bfloat16, in float.
inline float dot(const BFloat16* left, const BFloat16* right, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += widened(left[i]) * widened(right[i]);
  return sum;
}

// Matrices of one kind of element in one piece of scratch.
template <typename Element>
struct Matrices {
  explicit Matrices(std::int64_t count) : scratch(count) {}
  Matrix<Element> take(std::int64_t rows, std::int64_t columns) { return {scratch.take(rows * columns), columns}; }
  Scratch<Element> scratch;
};

// The head of an item in `rows`, `stride` apart, from row `first` on.
template <typename Element>
inline Matrix<Element> head_of(Element* rows, std::int64_t stride, std::int64_t first, const Item& item,
                               std::int64_t size) {
  return {rows + first * stride + item.head * size, stride};
}

// Rows of the next item are asked for while this one is computed: they are too far apart for the hardware to foresee.
template <bool written>
inline void prefetch(Matrix<const BFloat16> rows, std::int64_t length, std::int64_t size) {
  for (std::int64_t i = 0; i < length; ++i) {
    for (std::int64_t d = 0; d < size; d += kBlock) __builtin_prefetch(rows.row(i) + d, written ? 1 : 0, 2);
  }
}

// What forward and backward read of one item.
struct Inputs {
  Inputs(const Attention<float, BFloat16>& a, const Item& item)
      : query(head_of(a.query, a.stride, item.begin, item, a.size)),
        key(head_of(a.key, a.stride, item.first_key, item, a.size)),
        value(head_of(a.value, a.stride, item.first_key, item, a.size)) {}

  void ask(const Item& item, std::int64_t size) const {
    prefetch<false>(query, item.length, size);
    prefetch<false>(key, item.keys, size);
    prefetch<false>(value, item.keys, size);
  }

  Matrix<const BFloat16> query, key, value;
};

// What backward reads and writes of one item besides.
struct Gradients {
  Gradients(const Attention<float, BFloat16>& a, const Item& item)
      : output(head_of<const BFloat16>(a.output, a.heads * a.size, item.begin, item, a.size)),
        upstream(head_of(a.output_gradient, a.heads * a.size, item.begin, item, a.size)),
        query(head_of(a.query_gradient, a.gradient_stride, item.begin, item, a.size)),
        key(head_of(a.key_gradient, a.gradient_stride, item.first_key, item, a.size)),
        value(head_of(a.value_gradient, a.gradient_stride, item.first_key, item, a.size)) {}

  void ask(const Item& item, std::int64_t size) const {
    prefetch<false>(output, item.length, size);
    prefetch<false>(upstream, item.length, size);
    prefetch<true>(key.readable(), item.keys, size);
    prefetch<true>(value.readable(), item.keys, size);
  }

  Matrix<const BFloat16> output, upstream;
  Matrix<BFloat16> query, key, value;
};

// Whole blocks of what one call computes.
struct Sizes {
  explicit Sizes(const Attention<float, BFloat16>& a) : longest(in_blocks(a.max_keys)), size(in_blocks(a.size)) {}
  std::int64_t longest;
  std::int64_t size;
};

// The random bits of an item, and what is made of them.
struct Dropping {
  // No `next` of an item's stream asks for more than `most`; whole blocks are read.
  Dropping(const Dropout& dropout, std::int64_t most)
      : keep(dropout),
        factor(static_cast<float>(keep.drops() ? keep_scale(dropout) : 1)),
        scratch(KeepStream<std::uint16_t>::buffer_size(most + kBlock)),
        bits(scratch.take(0)) {}
  Keep keep;
  float factor;
  Scratch<std::uint16_t> scratch;
  std::uint16_t* bits;
};

struct Forward {
  explicit Forward(const Attention<float, BFloat16>& attention)
      : a(attention), sizes(attention), dropping(attention.dropout, sizes.longest) {}

  void run(const Item& item, const Inputs& inputs) {
    const std::int64_t width = in_blocks(item.keys);
    gather(inputs.query, item.length, a.size, queries);
    gather(inputs.key, item.keys, a.size, keys);
    gather(inputs.value, item.keys, a.size, values);
    key_columns.stride = scores.stride = probabilities.stride = width;
    pair_columns(keys.readable(), width, key_columns);
    pair_rows(values.readable(), width, value_pairs);
    KeepStream<std::uint16_t> stream(a.dropout, first_element(a, item), dropping.bits);
    for (std::int64_t first = 0; first < item.length; first += kBlock) {
      const std::int64_t rows = std::min(kBlock, item.length - first);
      multiply<false>(queries.readable(first), rows, key_columns.readable(), width, sizes.size, scores);
      float normalizers[kBlock];
      for (std::int64_t r = 0; r < rows; ++r) {
        const auto* bits = dropping.keep.drops() ? stream.next(item.keys) : dropping.bits;
        const auto row = softmax(scores.row(r), item.keys, a.scale, dropping.keep, bits, probabilities.row(r));
        normalizers[r] = dropping.factor / row.sum;
        if (a.log_sum != nullptr) a.log_sum[(item.begin + first + r) * a.heads + item.head] = row.log_sum;
      }
      multiply<false>(probabilities.readable(), rows, value_pairs.readable(), sizes.size, width, outputs);
      const auto to = head_of(a.output, a.heads * a.size, item.begin + first, item, a.size);
      for (std::int64_t r = 0; r < rows; ++r) narrow_times(outputs.row(r), normalizers[r], a.size, to.row(r));
    }
  }

  const Attention<float, BFloat16>& a;
  TileUnit unit;
  Sizes sizes;
  Dropping dropping;
  Matrices<BFloat16> brains{3 * sizes.longest * sizes.size + kBlock * sizes.longest};
  Matrix<BFloat16> queries = brains.take(sizes.longest, sizes.size);
  Matrix<BFloat16> keys = brains.take(sizes.longest, sizes.size);
  Matrix<BFloat16> values = brains.take(sizes.longest, sizes.size);
  Matrix<BFloat16> probabilities = brains.take(kBlock, sizes.longest);
  Matrices<std::uint32_t> words{sizes.longest * sizes.size};
  Matrix<std::uint32_t> key_columns = words.take(sizes.size / 2, sizes.longest);
  Matrix<std::uint32_t> value_pairs = words.take(sizes.longest / 2, sizes.size);
  Matrices<float> floats{kBlock * (sizes.longest + sizes.size)};
  Matrix<float> scores = floats.take(kBlock, sizes.longest);
  Matrix<float> outputs = floats.take(kBlock, sizes.size);
};

struct Backward {
  explicit Backward(const Attention<float, BFloat16>& attention)
      : a(attention), sizes(attention), dropping(attention.dropout, 2 * sizes.longest) {}

  void run(const Item& item, const Inputs& inputs, const Gradients& outer) {
    const std::int64_t width = in_blocks(item.keys);
    prepare(item, inputs, outer, width);
    KeepStream<std::uint16_t> stream(a.dropout, first_element(a, item), dropping.bits);
    for (std::int64_t first = 0; first < item.length; first += kBlock) {
      const std::int64_t rows = std::min(kBlock, item.length - first);
      multiply<false>(queries.readable(first), rows, key_columns.readable(), width, sizes.size, scores);
      multiply<false>(upstream.readable(first), rows, value_columns.readable(), width, sizes.size, gradients);
      differentiate(item, outer, first, rows, width, stream);
      multiply<false>(score_gradients.readable(), rows, key_pairs.readable(), sizes.size, width, query_gradients);
      for (std::int64_t r = 0; r < rows; ++r) {
        narrow_times(query_gradients.row(r), a.scale, a.size, outer.query.row(first + r));
      }
      const auto add = first == 0 ? multiply<false> : multiply<true>;
      add({query_columns.first + first, query_columns.stride}, sizes.size, gradient_pairs.readable(), width, kBlock,
          key_gradient_columns);
      add({upstream_columns.first + first, upstream_columns.stride}, sizes.size, kept_pairs.readable(), width, kBlock,
          value_gradient_columns);
    }
    // key_columns and row_pairs serve as scratch from here on.
    const Matrix<std::uint32_t> turned{row_pairs.first, sizes.size / 2};
    const auto narrow = [&](Matrix<float> columns, float factor, Matrix<BFloat16> to) {
      narrow_columns(columns.readable(), factor, a.size, item.keys, key_columns, turned, to);
    };
    narrow(key_gradient_columns, a.scale, outer.key);
    narrow(value_gradient_columns, dropping.factor, outer.value);
  }

  // The factors of all matmuls, as tiles read them.
  void prepare(const Item& item, const Inputs& inputs, const Gradients& outer, std::int64_t width) {
    const std::int64_t length = in_blocks(item.length);
    gather(inputs.query, item.length, a.size, queries);
    gather(inputs.key, item.keys, a.size, keys);
    gather(inputs.value, item.keys, a.size, values);
    gather(outer.upstream, item.length, a.size, upstream);
    for (auto* matrix : {&scores, &gradients, &key_gradient_columns, &value_gradient_columns}) matrix->stride = width;
    for (auto* matrix : {&key_columns, &value_columns, &kept_pairs, &gradient_pairs}) matrix->stride = width;
    score_gradients.stride = width;
    query_columns.stride = upstream_columns.stride = length;
    pair_columns(keys.readable(), width, key_columns);
    pair_columns(values.readable(), width, value_columns);
    pair_rows(keys.readable(), width, key_pairs);
    pair_rows(queries.readable(), length, row_pairs);
    transpose_pairs(row_pairs.readable(), length, query_columns);
    pair_rows(upstream.readable(), length, row_pairs);
    transpose_pairs(row_pairs.readable(), length, upstream_columns);
  }

  // From scores and gradients of the probabilities: score_gradients, gradient_pairs and kept_pairs; rows that are not
  // there are zero in the pairs.
  void differentiate(const Item& item, const Gradients& outer, std::int64_t first, std::int64_t rows,
                     std::int64_t width, KeepStream<std::uint16_t>& stream) {
    const auto row_of = [&](std::int64_t r, const std::uint16_t* bits) {
      const bool exists = r < rows;
      // The row sum of probability times its gradient is output times output gradient (Dao et al., 2022, eq. 4), and
      // stays so under dropout.
      return BackwardRow{.scores = scores.row(r),
                         .gradients = gradients.row(r),
                         .bits = bits,
                         .log_sum = exists ? a.log_sum[(item.begin + first + r) * a.heads + item.head] : 0,
                         .delta = exists ? dot(outer.upstream.row(first + r), outer.output.row(first + r), a.size) : 0,
                         .exists = exists,
                         .score_gradients = score_gradients.row(r)};
    };
    std::int64_t r = 0;
    for (; r < rows; r += 2) {
      const bool both = r + 1 < rows;
      const bool drops = dropping.keep.drops();
      const auto* bits = drops ? stream.next(both ? 2 * item.keys : item.keys) : dropping.bits;
      differentiate_pair(row_of(r, bits), row_of(r + 1, drops && both ? bits + item.keys : bits), item.keys, width,
                         a.scale, dropping.keep, dropping.factor, kept_pairs.row(r / 2), gradient_pairs.row(r / 2));
    }
    for (; r < kBlock; r += 2) {
      std::fill_n(kept_pairs.row(r / 2), width, 0U);
      std::fill_n(gradient_pairs.row(r / 2), width, 0U);
    }
  }

  const Attention<float, BFloat16>& a;
  TileUnit unit;
  Sizes sizes;
  Dropping dropping;
  Matrices<BFloat16> brains{6 * sizes.longest * sizes.size + kBlock * sizes.longest};
  Matrix<BFloat16> queries = brains.take(sizes.longest, sizes.size);
  Matrix<BFloat16> keys = brains.take(sizes.longest, sizes.size);
  Matrix<BFloat16> values = brains.take(sizes.longest, sizes.size);
  Matrix<BFloat16> upstream = brains.take(sizes.longest, sizes.size);
  Matrix<BFloat16> query_columns = brains.take(sizes.size, sizes.longest);
  Matrix<BFloat16> upstream_columns = brains.take(sizes.size, sizes.longest);
  Matrix<BFloat16> score_gradients = brains.take(kBlock, sizes.longest);
  Matrices<std::uint32_t> words{2 * sizes.longest * sizes.size + kBlock * sizes.longest};
  Matrix<std::uint32_t> key_columns = words.take(sizes.size / 2, sizes.longest);
  Matrix<std::uint32_t> value_columns = words.take(sizes.size / 2, sizes.longest);
  Matrix<std::uint32_t> key_pairs = words.take(sizes.longest / 2, sizes.size);
  Matrix<std::uint32_t> row_pairs = words.take(sizes.longest / 2, sizes.size);
  Matrix<std::uint32_t> kept_pairs = words.take(kBlock / 2, sizes.longest);
  Matrix<std::uint32_t> gradient_pairs = words.take(kBlock / 2, sizes.longest);
  Matrices<float> floats{2 * kBlock * sizes.longest + kBlock * sizes.size + 2 * sizes.longest * sizes.size};
  Matrix<float> scores = floats.take(kBlock, sizes.longest);
  Matrix<float> gradients = floats.take(kBlock, sizes.longest);
  Matrix<float> query_gradients = floats.take(kBlock, sizes.size);
  Matrix<float> key_gradient_columns = floats.take(sizes.size, sizes.longest);
  Matrix<float> value_gradient_columns = floats.take(sizes.size, sizes.longest);
};

// So few keys fill too little of a tile: AVX-512's loops are faster.
constexpr std::int64_t kFewKeys = 8;

// Calls few(first, last) for runs of items with few keys, and many(item, next) for each other one that has rows, and
// the item after it.
template <typename Few, typename Many>
inline void for_items(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item,
                      const Few& few, const Many& many) {
  for (std::int64_t index = first_item; index < last_item; ++index) {
    const Item item = item_of(a, index);
    if (item.keys <= kFewKeys) {
      std::int64_t end = index + 1;
      while (end < last_item && item_of(a, end).keys <= kFewKeys) ++end;
      few(index, end);
      index = end - 1;
    } else if (item.length > 0) {
      const Item next = item_of(a, std::min(index + 1, last_item - 1));
      many(item, next);
    }
  }
}

}  // namespace

void attention_forward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item) {
  Forward forward(a);
  const auto few = [&](std::int64_t first, std::int64_t last) {
    avx512::bfloat16_loops.attention_forward(a, first, last);
  };
  for_items(a, first_item, last_item, few, [&](const Item& item, const Item& next) {
    Inputs(a, next).ask(next, a.size);
    forward.run(item, Inputs(a, item));
  });
}

void attention_backward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item) {
  Backward backward(a);
  const auto few = [&](std::int64_t first, std::int64_t last) {
    avx512::bfloat16_loops.attention_backward(a, first, last);
  };
  for_items(a, first_item, last_item, few, [&](const Item& item, const Item& next) {
    Inputs(a, next).ask(next, a.size);
    Gradients(a, next).ask(next, a.size);
    backward.run(item, Inputs(a, item), Gradients(a, item));
  });
}

}  // namespace dtrain::model::kernels::DTRAIN_ISA
