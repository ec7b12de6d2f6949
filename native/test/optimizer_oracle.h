// AdamW and LAMB in double, as graft.h writes them.
#pragma once

#include <cmath>
#include <vector>

namespace graft_test {

enum class rule { adamw, lamb };

struct step_settings {
  double beta1, beta2, eps;
  double clip;
  double rate;  // lr lr_scale
  double decay;
  int64_t t;
};

// One step of one parameter, in place.
inline void step_in_double(rule which, const step_settings& s, const std::vector<double>& grad,
                           std::vector<double>& w, std::vector<double>& m, std::vector<double>& v) {
  std::vector<double> r(w.size());
  double weights = 0, directions = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double g = grad[i] * s.clip;
    m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
    v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
    const auto t = static_cast<double>(s.t);
    r[i] = m[i] / (1 - std::pow(s.beta1, t)) /
               (std::sqrt(v[i] / (1 - std::pow(s.beta2, t))) + s.eps) +
           s.decay * w[i];
    weights += w[i] * w[i];
    directions += r[i] * r[i];
  }
  const bool trusted = which == rule::lamb && s.decay > 0 && weights > 0 && directions > 0;
  const double trust = trusted ? std::sqrt(weights / directions) : 1.0;
  for (size_t i = 0; i < w.size(); ++i) w[i] -= s.rate * trust * r[i];
}

}  // namespace graft_test
