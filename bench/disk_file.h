// A file without a name, for a disk that both ring3 and QEMU open.
#pragma once

#include <cstdint>
#include <string>

namespace ring3::bench {

/// Goes with this process, however that ends.
class DiskFile {
 public:
  /// Reads as zeros. Throws std::runtime_error where the folder takes no file.
  DiskFile(const std::string& folder, uint64_t bytes);
  ~DiskFile();
  DiskFile(const DiskFile&) = delete;

  /// By which other processes of this user open it.
  std::string Path() const;

 private:
  int fd_;
};

}  // namespace ring3::bench
