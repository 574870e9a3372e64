#pragma once

namespace dtrain::model {

/// Floating-point operations of matmuls, 2 m k n for [m, k] @ [k, n].
struct FlopCount {
  /// Of linear layers, and of what methods multiply besides.
  double matmuls = 0;
  /// Of queries with keys and of probabilities with values, over the tokens of the examples.
  double attention = 0;

  double total() const { return matmuls + attention; }
  void add(const FlopCount& other) {
    matmuls += other.matmuls;
    attention += other.attention;
  }
};

}  // namespace dtrain::model
