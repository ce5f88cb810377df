#include "devices/block/async_disk.h"

#include <fmt/core.h>

#include <cerrno>
#include <csignal>

namespace ring3 {
namespace {

/// Signals are for the vCPU thread; those of a thread's own faults cannot be kept away.
std::thread StartWithoutSignals(std::function<void()> work) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(work));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

AsyncDisk::AsyncDisk(std::unique_ptr<Image> image, std::string name, Mailbox& mailbox, bool write_through, bool unsafe)
    : image_(std::move(image)),
      name_(std::move(name)),
      mailbox_(mailbox),
      size_(image_->SizeBytes()),
      read_only_(image_->ReadOnly()),
      write_through_(write_through),
      unsafe_(unsafe),
      worker_(StartWithoutSignals([this] { Work(); })) {}

AsyncDisk::~AsyncDisk() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  worker_.join();
}

void AsyncDisk::Read(uint64_t offset, Bytes buffer, Done done) {
  Submit({Kind::kRead, offset, std::move(buffer), std::move(done)});
}

void AsyncDisk::Write(uint64_t offset, Bytes data, Done done) {
  Submit({Kind::kWrite, offset, std::move(data), std::move(done)});
}

void AsyncDisk::Flush(Done done) { Submit({Kind::kFlush, 0, {}, std::move(done)}); }

void AsyncDisk::Submit(Request request) {
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
  }
  changed_.notify_one();
}

void AsyncDisk::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !requests_.empty(); });
    if (requests_.empty()) return;
    Request request = std::move(requests_.front());
    requests_.pop_front();
    lock.unlock();
    CarryOut(std::move(request));
    lock.lock();
  }
}

void AsyncDisk::CarryOut(Request request) {
  const int error = Transfer(request);
  // Shared, because what is posted must be copyable.
  auto bytes = std::make_shared<Bytes>(std::move(request.bytes));
  mailbox_.Post([done = std::move(request.done), error, bytes] { done(error, std::move(*bytes)); });
}

int AsyncDisk::Transfer(Request& request) {
  try {
    switch (request.kind) {
      case Kind::kRead:
        image_->Read(request.offset, request.bytes);
        break;
      case Kind::kWrite:
        if (read_only_) return EROFS;
        image_->Write(request.offset, request.bytes);
        if (write_through_) image_->Flush();
        break;
      case Kind::kFlush:
        if (!read_only_ && !unsafe_) image_->Flush();
        break;
    }
    return 0;
  } catch (const ImageError& error) {
    ReportOnce(error.code, error.what());
    return error.code ? error.code : EIO;
  } catch (const std::bad_alloc&) {
    ReportOnce(ENOMEM, "out of memory");
    return ENOMEM;
  }
}

void AsyncDisk::ReportOnce(int code, const char* what) {
  if (reported_.insert(code).second)
    fmt::print(stderr, "ring3: {}: {}; the guest is told of a disk error\n", name_, what);
}

}  // namespace ring3
