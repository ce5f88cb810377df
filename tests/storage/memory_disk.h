// A disk in memory, for device tests: requests are carried out at once and answered through the mailbox.
#pragma once

#include <algorithm>
#include <cerrno>
#include <utility>

#include "devices/block/disk.h"
#include "devices/mailbox.h"

namespace ring3 {

class MemoryDisk final : public Disk {
 public:
  struct Content {
    Bytes bytes;
    bool read_only = false;
    int fail_with = 0;  // an errno value that every request is answered with
    unsigned flushes = 0;
  };
  /// Keeps references to both.
  MemoryDisk(Content& content, Mailbox& mailbox) : content_(content), mailbox_(mailbox) {}

  uint64_t SizeBytes() const override { return content_.bytes.size(); }
  bool ReadOnly() const override { return content_.read_only; }
  void Read(uint64_t offset, Bytes buffer, Done done) override {
    int error = Check(offset, buffer.size());
    if (!error) std::copy_n(content_.bytes.begin() + static_cast<ptrdiff_t>(offset), buffer.size(), buffer.begin());
    Answer(std::move(done), error, std::move(buffer));
  }
  void Write(uint64_t offset, Bytes data, Done done) override {
    const int error = Check(offset, data.size());
    if (!error) std::copy(data.begin(), data.end(), content_.bytes.begin() + static_cast<ptrdiff_t>(offset));
    Answer(std::move(done), error, std::move(data));
  }
  void Flush(Done done) override {
    ++content_.flushes;
    Answer(std::move(done), content_.fail_with, {});
  }

 private:
  int Check(uint64_t offset, size_t bytes) const {
    if (content_.fail_with) return content_.fail_with;
    return bytes <= content_.bytes.size() && offset <= content_.bytes.size() - bytes ? 0 : EIO;
  }
  void Answer(Done done, int error, Bytes bytes) {
    mailbox_.Post([done = std::move(done), error, bytes = std::move(bytes)] { done(error, bytes); });
  }

  Content& content_;
  Mailbox& mailbox_;
};

}  // namespace ring3
