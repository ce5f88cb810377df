#include "tests/shadowmmu/host_view.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace ring3 {
namespace {

struct Line {
  uint64_t first, end, offset;
  std::string rights;
};

std::vector<Line> Lines(uint64_t first, uint64_t end) {
  std::vector<Line> result;
  std::ifstream maps("/proc/self/maps");
  for (std::string text; std::getline(maps, text);) {
    std::istringstream in(text);
    Line line;
    char dash;
    in >> std::hex >> line.first >> dash >> line.end >> line.rights >> line.offset;
    if (line.end > first && line.first < end) result.push_back(line);
  }
  return result;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const HostPage& page) {
  return out << std::hex << page.linear << "->" << page.physical << (page.writable ? " rw" : " r") << std::dec;
}

std::vector<HostPage> HostPages(const ShadowMmu& mmu, WindowId window) {
  const uint64_t base = mmu.Base(window).value;
  std::vector<HostPage> pages;
  for (const Line& line : Lines(base, base + (4ull << 30))) {
    if (line.rights[0] != 'r') continue;
    for (uint64_t at = line.first; at < line.end; at += kPageSize) {
      pages.push_back({static_cast<uint32_t>(at - base), line.offset + (at - line.first), line.rights[1] == 'w'});
    }
  }
  return pages;
}

std::vector<HostPage> Run(uint32_t linear, uint64_t physical, uint32_t count, bool writable) {
  std::vector<HostPage> pages;
  for (uint32_t i = 0; i < count; ++i) pages.push_back({linear + i * kPageSize, physical + i * kPageSize, writable});
  return pages;
}

std::vector<HostPage> operator+(std::vector<HostPage> left, const std::vector<HostPage>& right) {
  left.insert(left.end(), right.begin(), right.end());
  std::sort(left.begin(), left.end(), [](const HostPage& a, const HostPage& b) { return a.linear < b.linear; });
  return left;
}

bool CanRead(HostAddress address) {
  uint8_t byte;
  const iovec here{&byte, 1}, there{reinterpret_cast<void*>(address.value), 1};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1;
}

bool CanWrite(HostAddress address) {
  uint8_t byte;
  const iovec here{&byte, 1}, there{reinterpret_cast<void*>(address.value), 1};
  // Writing back what is there leaves guest memory alone.
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1 &&
         process_vm_writev(getpid(), &here, 1, &there, 1, 0) == 1;
}

bool AllInaccessible(HostAddress first, HostAddress end) {
  for (const Line& line : Lines(first.value, end.value)) {
    if (line.rights != "---p") return false;
  }
  return true;
}

unsigned HostMappingCount(HostAddress first, HostAddress end) {
  return static_cast<unsigned>(Lines(first.value, end.value).size());
}

}  // namespace ring3
