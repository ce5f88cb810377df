// Files that tests make and leave nothing of.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ring3 {

using Bytes = std::vector<uint8_t>;

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  /// Returns its path.
  std::string Write(const std::string& name, std::span<const uint8_t> bytes) const;

 private:
  std::string path_;
};

/// Bytes that repeat exactly for a seed.
Bytes RandomBytes(size_t count, uint32_t seed);

/// Runs a program; its exit code, or -1 where there is no such program. `output` gets what it wrote.
int RunProgram(const std::vector<std::string>& words, std::string* output = nullptr);

}  // namespace ring3
