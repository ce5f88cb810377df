#include "devices/vga/direct_window.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint64_t kLeastPatienceNs = 100'000, kMostPatienceNs = 50'000'000;

}  // namespace

DirectWindow::DirectWindow(Clock& clock, TimerQueue& timers, PhysicalMemory& physical, BackedMemory& backed,
                           VgaWindow& window)
    : clock_(clock),
      physical_(physical),
      backed_(backed),
      window_(window),
      patience_ns_(kLeastPatienceNs),
      timer_(timers, [this](uint64_t now) { Show(now); }) {}

void DirectWindow::Consider() {
  if (backed_.Attached() && window_.Plain()) timer_.Schedule(clock_.NowNs() + patience_ns_);
}

void DirectWindow::Show(uint64_t now) {
  const std::optional<VgaWindow::PlainBytes> plain = window_.Plain();
  if (!plain || !backed_.Attached()) return;
  shown_ = plain;
  shown_ns_ = now;
  physical_.ShowAlias(backed_, plain->offset, GuestPhysical(plain->address), plain->bytes);
}

void DirectWindow::EndIfChanged() {
  if (window_.Plain() == shown_ && physical_.HasAlias()) return;
  physical_.EndAlias();
  shown_.reset();
  window_.PlainBytesWritten();
  const bool worthwhile = clock_.NowNs() - shown_ns_ > kMostPatienceNs;
  patience_ns_ = worthwhile ? kLeastPatienceNs : std::min(patience_ns_ * 2, kMostPatienceNs);
}

}  // namespace ring3
