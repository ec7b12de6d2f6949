/* The ABI from plain C11: y = gelu(x + bias) on the CPU. Exits with 0 if the result is right. */
#include <math.h>
#include <stdio.h>

#include "graft/graft.h"

static int failed(const char* call) {
  fprintf(stderr, "%s: %s\n", call, graft_last_error());
  return 1;
}

int main(void) {
  graft_context_options options = {.struct_size = sizeof options, .backend = GRAFT_CPU};
  graft_context* context = NULL;
  if (graft_context_create(&options, &context) != GRAFT_OK) return failed("graft_context_create");

  const float x[6] = {-3.0f, -1.0f, 0.0f, 0.5f, 1.0f, 3.0f}; /* [2, 3] */
  const float bias[3] = {0.0f, 0.0f, 0.0f};
  float y[6];
  graft_activation_args args = {.struct_size = sizeof args,
                                .x = x,
                                .bias = bias,
                                .y = y,
                                .rows = 2,
                                .channels = 3,
                                .activation = GRAFT_GELU_ERF,
                                .dtype = GRAFT_FLOAT32};
  if (graft_activation_forward(context, &args) != GRAFT_OK)
    return failed("graft_activation_forward");
  if (graft_context_destroy(context) != GRAFT_OK) return failed("graft_context_destroy");

  for (int i = 0; i < 6; ++i) {
    const double expected = 0.5 * x[i] * (1.0 + erf(x[i] / sqrt(2.0)));
    printf("gelu(%g) = %g\n", (double)x[i], (double)y[i]);
    if (fabs(y[i] - expected) > 1e-6) return 1;
  }
  return 0;
}
