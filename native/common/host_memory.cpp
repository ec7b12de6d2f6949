// Linux grants memory it does not have and kills who touches it, so a large allocation is held against
// what there is: /proc/meminfo, and the memory controller of the process' control group (containers,
// batch systems), version 2 or 1. Page cache that can be dropped counts as free, swap does too.
#include "host_memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

namespace graft {
namespace {

constexpr int64_t unknown = INT64_MAX;

// The number in a file of one; unknown for "max", or if there is no such file.
int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : unknown;
}

// The number behind a key in a file of "key number" lines; 0 if there is none.
int64_t value_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) == 0 && line.size() > key.size() &&
        (line[key.size()] == ' ' || line[key.size()] == ':'))
      return std::strtoll(line.c_str() + key.size() + 1, nullptr, 10);
  }
  return 0;
}

// Narrows `amounts` to a control group's limit, if it has one.
bool narrow(memory_amounts& amounts, const std::string& folder, const char* limit_file,
            const char* usage_file, const char* cache_key) {
  const int64_t limit = number_in(folder + limit_file);
  const int64_t usage = number_in(folder + usage_file);
  if (usage == unknown) return false;
  if (limit == unknown) return true;
  const int64_t used = usage - value_of(folder + "/memory.stat", cache_key);
  amounts.total = std::min(amounts.total, limit);
  amounts.free = std::min(amounts.free, std::max<int64_t>(0, limit - used));
  return true;
}

// In a container the path may be that of the host; the group is then mounted as the root.
void narrow_to_group(memory_amounts& amounts) {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      for (const std::string& at : {path, std::string()})
        if (narrow(amounts, "/sys/fs/cgroup" + at, "/memory.max", "/memory.current",
                   "inactive_file"))
          break;
    } else if (controllers.find(",memory,") != std::string::npos) {
      for (const std::string& at : {path, std::string()})
        if (narrow(amounts, "/sys/fs/cgroup/memory" + at, "/memory.limit_in_bytes",
                   "/memory.usage_in_bytes", "total_inactive_file"))
          break;
    }
  }
}

}  // namespace

memory_amounts host_memory() {
  const std::string file = "/proc/meminfo";
  const int64_t total = value_of(file, "MemTotal");
  memory_amounts amounts{unknown, unknown};
  if (total > 0) {
    amounts.total = total * 1024;
    amounts.free = (value_of(file, "MemAvailable") + value_of(file, "SwapFree")) * 1024;
  }
  narrow_to_group(amounts);
  return amounts;
}

}  // namespace graft
