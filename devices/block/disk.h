// A disk as devices see it: requests that are carried out in order and answered later, on the vCPU thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace ring3 {

class Disk {
 public:
  using Bytes = std::vector<uint8_t>;
  /// `error` is 0 or an errno value. `bytes` is the buffer of the request; after a read without error, filled.
  using Done = std::function<void(int error, Bytes bytes)>;

  virtual ~Disk() = default;
  virtual uint64_t SizeBytes() const = 0;
  virtual bool ReadOnly() const = 0;

  /// As many bytes as `buffer` has, from byte `offset`. A range that leaves the image is answered with EIO. `done` is
  /// called from the mailbox, never from inside these calls.
  virtual void Read(uint64_t offset, Bytes buffer, Done done) = 0;
  /// Answered once the data would survive the death of this process.
  virtual void Write(uint64_t offset, Bytes data, Done done) = 0;
  /// Answered once everything written before would survive the host's.
  virtual void Flush(Done done) = 0;
};

}  // namespace ring3
