// Capture of a sequence of calls into one CUDA graph.
#include <new>

#include "context.h"

// Opaque in graft.h.
struct graft_graph {
  cudaGraphExec_t executable;
};

namespace graft::cuda {

int capture_begin(void* state) {
  auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "capture_begin"));
  // Thread-local: other threads may go on allocating and waiting meanwhile.
  GRAFT_TRY(check(context, "capture_begin",
                  cudaStreamBeginCapture(context.stream, cudaStreamCaptureModeThreadLocal)));
  context.capturing = true;
  return GRAFT_OK;
}

int capture_end(void* state, graft_graph** out) {
  const char* op = "capture_end";
  auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter(context, op));
  if (!context.capturing)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: expected after capture_begin, got no capture", op);
  context.capturing = false;
  cudaGraph_t recorded = nullptr;
  GRAFT_TRY(check(context, op, cudaStreamEndCapture(context.stream, &recorded)));
  cudaGraphExec_t executable = nullptr;
  const int status = check(context, op, cudaGraphInstantiate(&executable, recorded, 0));
  cudaGraphDestroy(recorded);
  if (status != GRAFT_OK) return status;
  auto* graph = new (std::nothrow) graft_graph{executable};
  if (graph == nullptr) {
    cudaGraphExecDestroy(executable);
    return fail(GRAFT_OUT_OF_MEMORY, "%s: no memory for a graph", op);
  }
  *out = graph;
  return GRAFT_OK;
}

int graph_launch(void* state, graft_graph* graph) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "graph_launch"));
  return check(context, "graph_launch", cudaGraphLaunch(graph->executable, context.stream));
}

int graph_destroy(void* state, graft_graph* graph) {
  const auto& context = *static_cast<cuda_context*>(state);
  int status = enter(context, "graph_destroy");
  if (status == GRAFT_OK)
    status = check(context, "graph_destroy", cudaGraphExecDestroy(graph->executable));
  delete graph;
  return status;
}

}  // namespace graft::cuda
