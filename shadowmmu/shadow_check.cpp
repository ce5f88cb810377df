#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shadowmmu/shadow_mmu_impl.h"

namespace ring3 {
namespace {

/// A stretch of host address space with one backing; `offset` is into the guest's RAM, for mapped stretches.
struct HostMapping {
  uint64_t first = 0, end = 0, offset = 0;
  bool mapped = false, writable = false;
  bool operator==(const HostMapping&) const = default;
};

/// Appends, joined to the one before where both are parts of one mapping.
void Append(std::vector<HostMapping>& mappings, const HostMapping& next) {
  if (next.first == next.end) return;
  if (!mappings.empty()) {
    HostMapping& last = mappings.back();
    const bool same = last.end == next.first && last.mapped == next.mapped && last.writable == next.writable;
    if (same && (!next.mapped || last.offset + (last.end - last.first) == next.offset)) {
      last.end = next.end;
      return;
    }
  }
  mappings.push_back(next);
}

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "ring3: shadow MMU invariant broken: %s\n", what.c_str());
  std::abort();
}

std::string Describe(const HostMapping& m) {
  char text[128];
  std::snprintf(text, sizeof text, "[%" PRIx64 ", %" PRIx64 ") %s offset %" PRIx64, m.first, m.end,
                !m.mapped    ? "none"
                : m.writable ? "rw"
                             : "r",
                m.offset);
  return text;
}

/// Reads the part of /proc/self/maps in [first, end).
std::vector<HostMapping> ReadHostMappings(uint64_t first, uint64_t end, const struct stat& ram) {
  std::vector<HostMapping> result;
  std::FILE* file = std::fopen("/proc/self/maps", "r");
  if (!file) Fail("cannot read /proc/self/maps");
  char* line = nullptr;
  size_t capacity = 0;
  uint64_t done = first;
  while (getline(&line, &capacity, file) > 0) {
    uint64_t from, to, offset, inode;
    char rights[5];
    unsigned major_number, minor_number;
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &from, &to, rights, &offset,
                    &major_number, &minor_number, &inode) != 7) {
      Fail(std::string("cannot parse ") + line);
    }
    if (to <= first || from >= end) continue;
    if (from > done) Append(result, {done, from, 0, false, false});  // a hole
    done = std::min(to, end);
    const std::string_view r(rights);
    HostMapping mapping{from, to, 0, r != "---p", r == "rw-s"};
    if (mapping.mapped) {
      const bool is_ram = makedev(major_number, minor_number) == ram.st_dev && inode == ram.st_ino;
      if (!is_ram || (r != "rw-s" && r != "r--s")) Fail(std::string("foreign mapping in a window: ") + line);
      mapping.offset = offset;
    } else {
      // The host may join a reservation with neighbours of the same kind outside it.
      mapping.first = std::max(from, first);
      mapping.end = std::min(to, end);
    }
    Append(result, mapping);
  }
  Append(result, {done, end, 0, false, false});
  std::free(line);
  std::fclose(file);
  return result;
}

}  // namespace

void ShadowMmu::Impl::CheckInvariants() const {
  if (const char* what = table.FindInconsistency()) Fail(what);
  std::vector<HostMapping> expected;
  const uint64_t begin = space.First(), end = begin + space.Bytes();
  uint64_t done = begin;
  for (unsigned w = 0; w < Windows(); ++w) {
    const auto window = static_cast<WindowId>(w);
    for (uint32_t number = 0; number < MappingTable::kRegions; ++number) {
      const Region* region = table.Find(window, number);
      for (uint32_t i = 0; region && i < Region::kPages; ++i) {
        const PageRecord record = region->record[i];
        if (!record.Has(PageRecord::kMapped)) continue;
        const uint32_t page = number * Region::kPages + i;
        const bool writable = record.Has(PageRecord::kHostWritable);
        // A mapping may lack the right to write until a fault asks for it, and nothing else.
        std::optional<PageRecord> allowed = Desired(window, page, {region->pde, region->large, region->pte[i]});
        if (allowed && !writable) allowed->bits &= ~PageRecord::kHostWritable;
        if (allowed && !record.OnHost()) allowed->bits |= PageRecord::kFetchOnly;
        if (allowed != record)
          Fail("page " + std::to_string(page) + " of window " + std::to_string(w) +
               " is not what the consumed entries say");
        if (!record.OnHost()) continue;
        const uint64_t first = space.Base(window).value + (uint64_t{page} << kPageShift);
        Append(expected, {done, first, 0, false, false});
        Append(expected, {first, first + kPageSize, record.Physical().value, true, writable});
        done = first + kPageSize;
      }
    }
  }
  Append(expected, {done, end, 0, false, false});
  if (expected.size() != table.HostMappings()) Fail("mapping count is not that of the mappings");

  struct stat ram;
  if (fstat(memory.MemoryFd(), &ram) != 0) Fail("cannot stat the memory file");
  const std::vector<HostMapping> actual = ReadHostMappings(begin, end, ram);
  for (size_t i = 0; i < std::max(expected.size(), actual.size()); ++i) {
    const HostMapping want = i < expected.size() ? expected[i] : HostMapping{};
    const HostMapping have = i < actual.size() ? actual[i] : HostMapping{};
    if (want != have) Fail("host has " + Describe(have) + ", records say " + Describe(want));
  }
}

}  // namespace ring3
