// A disk whose image is read and written by a thread of its own.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "devices/block/disk.h"
#include "devices/block/image.h"
#include "devices/mailbox.h"

namespace ring3 {

class AsyncDisk final : public Disk {
 public:
  /// `name` is for messages: "hda". The first error of each kind is a line on standard error.
  /// `write_through`: a write is answered once it would survive the host's death; `unsafe`: flushes do nothing.
  AsyncDisk(std::unique_ptr<Image> image, std::string name, Mailbox& mailbox, bool write_through = false,
            bool unsafe = false);
  /// Carries out what was asked for; waits for it.
  ~AsyncDisk() override;

  uint64_t SizeBytes() const override { return size_; }
  bool ReadOnly() const override { return read_only_; }
  void Read(uint64_t offset, Bytes buffer, Done done) override;
  void Write(uint64_t offset, Bytes data, Done done) override;
  void Flush(Done done) override;

 private:
  enum class Kind : uint8_t { kRead, kWrite, kFlush };
  struct Request {
    Kind kind;
    uint64_t offset;
    Bytes bytes;
    Done done;
  };
  void Submit(Request request);
  void Work();
  void CarryOut(Request request);
  int Transfer(Request& request);
  void ReportOnce(int code, const char* what);

  std::unique_ptr<Image> image_;  // the worker's
  const std::string name_;
  Mailbox& mailbox_;
  const uint64_t size_;
  const bool read_only_, write_through_, unsafe_;
  std::set<int> reported_;  // the worker's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request> requests_;
  bool ending_ = false;
  std::thread worker_;
};

}  // namespace ring3
