#include "error.h"

#include <cstdarg>
#include <cstdio>

namespace graft {
namespace {
thread_local char last_error[1024] = "";
}

int fail(graft_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace graft

extern "C" {

const char* graft_last_error(void) { return graft::last_error; }

const char* graft_status_name(int status) {
  switch (status) {
    case GRAFT_OK: return "GRAFT_OK";
    case GRAFT_INVALID_SHAPE: return "GRAFT_INVALID_SHAPE";
    case GRAFT_INVALID_DTYPE: return "GRAFT_INVALID_DTYPE";
    case GRAFT_INVALID_ALIGNMENT: return "GRAFT_INVALID_ALIGNMENT";
    case GRAFT_INVALID_ARGUMENT: return "GRAFT_INVALID_ARGUMENT";
    case GRAFT_UNSUPPORTED: return "GRAFT_UNSUPPORTED";
    case GRAFT_OUT_OF_MEMORY: return "GRAFT_OUT_OF_MEMORY";
    case GRAFT_DEVICE_ERROR: return "GRAFT_DEVICE_ERROR";
    case GRAFT_DEVICE_LOST: return "GRAFT_DEVICE_LOST";
    case GRAFT_INTERNAL: return "GRAFT_INTERNAL";
    default: return "unknown status";
  }
}

}  // extern "C"
