#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "model/kernels/loops.h"
#include "model/kernels/matrix_loops.h"

// Small matmuls of bfloat16 with sums in float, by the tiles of AMX. They take the right factor as pairs: the words
// [inner / 2, columns] of its elements (2 p, c) in the lower and (2 p + 1, c) in the upper half. Part of
// amx_attention.cpp.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// Columns and inner dimensions are padded to whole blocks, rows of what is computed and of the left factor have room
// for them.
constexpr std::int64_t kBlock = 32;
constexpr std::int64_t in_blocks(std::int64_t count) { return (count + kBlock - 1) / kBlock * kBlock; }

// A matrix in memory, row by row.
template <typename Element>
struct Matrix {
  Element* first;
  std::int64_t stride;
  Element* row(std::int64_t index) const { return first + index * stride; }
  Matrix<const Element> readable(std::int64_t from = 0) const { return {row(from), stride}; }
};

// While it lives, the thread's eight tiles are 16 rows of 64 bytes.
class TileUnit {
 public:
  TileUnit() {
    struct alignas(64) Configuration {
      std::uint8_t palette = 1;
      std::uint8_t start_row = 0;
      std::uint8_t reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    static constexpr Configuration kConfiguration;
    _tile_loadconfig(&kConfiguration);
  }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

// A block of 32 columns and 16 or 32 rows; the intrinsics take numbers of tiles that are literals.
template <bool two, bool adds>
inline void multiply_block(Matrix<const BFloat16> left, Matrix<const std::uint32_t> right, std::int64_t inner,
                           Matrix<float> out) {
  const auto out_bytes = static_cast<std::size_t>(out.stride) * sizeof(float);
  const auto left_bytes = static_cast<std::size_t>(left.stride) * sizeof(BFloat16);
  const auto right_bytes = static_cast<std::size_t>(right.stride) * sizeof(std::uint32_t);
  if constexpr (adds) {
    _tile_loadd(0, out.first, out_bytes);
    _tile_loadd(1, out.first + 16, out_bytes);
    if constexpr (two) _tile_loadd(2, out.row(16), out_bytes);
    if constexpr (two) _tile_loadd(3, out.row(16) + 16, out_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (two) _tile_zero(2);
    if constexpr (two) _tile_zero(3);
  }
  for (std::int64_t k = 0; k < inner; k += kBlock) {
    _tile_loadd(4, left.first + k, left_bytes);
    _tile_loadd(6, right.row(k / 2), right_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right.row(k / 2) + 16, right_bytes);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (two) _tile_loadd(5, left.row(16) + k, left_bytes);
    if constexpr (two) _tile_dpbf16ps(2, 5, 6);
    if constexpr (two) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out.first, out_bytes);
  _tile_stored(1, out.first + 16, out_bytes);
  if constexpr (two) _tile_stored(2, out.row(16), out_bytes);
  if constexpr (two) _tile_stored(3, out.row(16) + 16, out_bytes);
}

// out [rows, columns] = left [rows, inner] * right, added to what is there if `adds`. Rows up to the next multiple of
// 16 are read and written, too.
template <bool adds>
inline void multiply(Matrix<const BFloat16> left, std::int64_t rows, Matrix<const std::uint32_t> right,
                     std::int64_t columns, std::int64_t inner, Matrix<float> out) {
  // GCC 12 does not know that loading a tile reads memory.
  __asm__ volatile("" ::: "memory");
  for (std::int64_t r = 0; r < rows; r += kBlock) {
    for (std::int64_t c = 0; c < columns; c += kBlock) {
      const Matrix<const BFloat16> upper{left.row(r), left.stride};
      const Matrix<const std::uint32_t> right_block{right.first + c, right.stride};
      const Matrix<float> out_block{out.row(r) + c, out.stride};
      if (rows - r > 16) {
        multiply_block<true, adds>(upper, right_block, inner, out_block);
      } else {
        multiply_block<false, adds>(upper, right_block, inner, out_block);
      }
    }
  }
}

// The elements d + i < size, i < 32.
inline __mmask32 words_before(std::int64_t size, std::int64_t d) {
  return size - d >= kBlock ? ~__mmask32{0} : size <= d ? 0 : (__mmask32{1} << (size - d)) - 1;
}

// `rows` [length, size] in `out` [in_blocks(length), in_blocks(size)] with zeros beyond.
inline void gather(Matrix<const BFloat16> rows, std::int64_t length, std::int64_t size, Matrix<BFloat16> out) {
  for (std::int64_t i = 0; i < length; ++i) {
    for (std::int64_t d = 0; d < out.stride; d += kBlock) {
      _mm512_storeu_si512(out.row(i) + d, _mm512_maskz_loadu_epi16(words_before(size, d), rows.row(i) + d));
    }
  }
  const std::int64_t rest = in_blocks(length) - length;
  std::memset(out.row(length), 0, sizeof(BFloat16) * static_cast<std::size_t>(rest * out.stride));
}

// The lanes of `lower` in the lower halves of words, those of `upper` in their upper halves; 32 bfloat16 come as the 16
// of `lower` and then the 16 of `upper`.
inline __m512i interleaved(__m512i both) {
  alignas(64) static constexpr std::uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both);
}

// The pairs of `rows` [length, columns], both whole blocks.
inline void pair_rows(Matrix<const BFloat16> rows, std::int64_t length, Matrix<std::uint32_t> out) {
  for (std::int64_t p = 0; p < length / 2; ++p) {
    for (std::int64_t c = 0; c < out.stride; c += 16) {
      const auto lower = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.row(2 * p) + c));
      const auto upper = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.row(2 * p + 1) + c));
      _mm512_storeu_si512(out.row(p) + c, interleaved(_mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1)));
    }
  }
}

// words [rows, columns] become out [columns, rows]; whole numbers of 16.
template <typename Word>
inline void transpose_words(Matrix<const Word> words, std::int64_t rows, std::int64_t columns, Matrix<Word> out) {
  for (std::int64_t r = 0; r < rows; r += 16) {
    for (std::int64_t c = 0; c < columns; c += 16) {
      Vector<float> block[16];
#pragma GCC unroll 16
      for (std::int64_t i = 0; i < 16; ++i) std::memcpy(&block[i], words.row(r + i) + c, sizeof block[i]);
      transpose<float>(block);
#pragma GCC unroll 16
      for (std::int64_t i = 0; i < 16; ++i) std::memcpy(out.row(c + i) + r, &block[i], sizeof block[i]);
    }
  }
}

// The pairs of the transpose of `rows` [length, columns], both whole blocks: two numbers side by side are a pair there.
inline void pair_columns(Matrix<const BFloat16> rows, std::int64_t length, Matrix<std::uint32_t> out) {
  const Matrix<const std::uint32_t> words{reinterpret_cast<const std::uint32_t*>(rows.first), rows.stride / 2};
  transpose_words(words, length, words.stride, out);
}

// The transpose, [columns, length], of `rows` whose pairs these are.
inline void transpose_pairs(Matrix<const std::uint32_t> pairs, std::int64_t length, Matrix<BFloat16> out) {
  transpose_words(pairs, length / 2, pairs.stride,
                  Matrix<std::uint32_t>{reinterpret_cast<std::uint32_t*>(out.first), out.stride / 2});
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
