#include "monitor/gdb/stub.h"

#include <fmt/core.h>

#include <algorithm>

#include "monitor/gdb/packets.h"
#include "monitor/gdb/registers.h"

namespace ring3::gdb {
namespace {

constexpr std::string_view kOk = "OK", kUnknown = "", kBadRequest = "E16", kNoMemory = "E0e", kTooMany = "E1c",
                           kReadOnly = "E1e";
constexpr size_t kMostMemory = (kMostPayload - 64) / 2;
constexpr unsigned kSignalInterrupt = 2, kSignalTrap = 5;
/// The numbers of Z packets.
enum StopType : unsigned { kSoftware, kHardware, kWriteWatch, kReadWatch, kAccessWatch, kStopTypes };
constexpr uint32_t kMostWatched = 4096;

/// A part of a document, as qXfer asks for it.
std::string Part(const std::string& document, std::string_view range) {
  const auto offset = TakeHex(range);
  if (!offset || !TakeText(range, ",")) return std::string(kBadRequest);
  const auto length = TakeHex(range);
  if (!length || !range.empty()) return std::string(kBadRequest);
  if (*offset >= document.size()) return "l";
  const size_t bytes = std::min({static_cast<size_t>(*length), document.size() - *offset, kMostMemory});
  return (*offset + bytes < document.size() ? "m" : "l") + document.substr(*offset, bytes);
}

struct Range {
  uint64_t address, length;
};

/// "address,length"
std::optional<Range> TakeRange(std::string_view& text) {
  const auto address = TakeHex(text);
  if (!address || !TakeText(text, ",")) return std::nullopt;
  const auto length = TakeHex(text);
  if (!length) return std::nullopt;
  return Range{*address, *length};
}

}  // namespace

Stub::Stub(Target& target, std::function<void(std::string_view)> send) : target_(target), send_(std::move(send)) {}

Stub::~Stub() {
  if (!stops_.empty()) target_.SetStops({});
}

void Stub::Packet(std::string_view payload) {
  const bool was_waiting = waiting_;
  const std::string answer = Answer(payload);
  // Whoever runs the guest is answered when it stops.
  if (waiting_ && !was_waiting) return;
  send_(answer);
}

void Stub::Interrupt() { target_.Interrupt(); }

void Stub::Stopped(const DebugEvent& event) {
  last_ = event;
  if (!std::exchange(waiting_, false)) return;
  send_(StopReply(event));
}

void Stub::Exited(int code) {
  if (std::exchange(waiting_, false)) send_(fmt::format("W{:02x}", code & 0xFF));
}

std::string Stub::Answer(std::string_view payload) {
  if (payload.empty()) return std::string(kUnknown);
  const std::string_view rest = payload.substr(1);
  switch (payload[0]) {
    case '?':
      return StopReply(last_.value_or(DebugEvent{DebugEvent::Kind::kStep}));
    case 'g':
      return ReadRegisters();
    case 'G':
      return WriteRegisters(rest);
    case 'p':
      return ReadOne(rest);
    case 'P':
      return WriteOne(rest);
    case 'm':
      return ReadMemory(rest);
    case 'M':
      return WriteMemory(rest, false);
    case 'X':
      return WriteMemory(rest, true);
    case 'Z':
      return ChangeStop(rest, true);
    case 'z':
      return ChangeStop(rest, false);
    case 'c':
      return Go(rest, false);
    case 's':
      return Go(rest, true);
    case 'C':
    case 'S': {  // with a signal, which means nothing to a machine
      const size_t semicolon = rest.find(';');
      return Go(semicolon == std::string_view::npos ? "" : rest.substr(semicolon + 1), payload[0] == 'S');
    }
    case 'H':
    case 'T':
      return std::string(kOk);  // there is one thread
    case 'q':
      return Query(rest);
    case 'Q':
      return Set(rest);
    case 'v':
      return Verbose(rest);
    case 'D':
      detached_ = true;
      return std::string(kOk);
    case 'k':
      target_.Kill();
      return std::string(kUnknown);
    default:
      return std::string(kUnknown);
  }
}

std::string Stub::Query(std::string_view text) {
  if (TakeText(text, "Supported")) {
    names_reasons_ = text.find("swbreak+") != std::string_view::npos;
    return fmt::format("PacketSize={:x};qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+",
                       kMostPayload);
  }
  if (TakeText(text, "Xfer:")) return Transfer(text);
  if (TakeText(text, "Rcmd,")) return Monitor(text);
  if (text == "Attached" || text.starts_with("Attached:")) return "1";
  if (text == "C") return "QC1";
  if (text == "fThreadInfo") return "m1";
  if (text == "sThreadInfo") return "l";
  if (text.starts_with("ThreadExtraInfo,")) {
    const std::string_view state = target_.Running() ? "CPU#0 [running]" : "CPU#0 [halted ]";
    return ToHex({reinterpret_cast<const uint8_t*>(state.data()), state.size()});
  }
  if (text == "qemu.PhyMemMode") return physical_ ? "1" : "0";
  return std::string(kUnknown);
}

std::string Stub::Transfer(std::string_view text) {
  if (TakeText(text, "features:read:target.xml:")) return Part(TargetDescription(), text);
  return std::string(text.starts_with("features:read:") ? "E00" : kUnknown);
}

std::string Stub::Set(std::string_view text) {
  if (text == "StartNoAckMode") {
    acknowledges_ = false;
    return std::string(kOk);
  }
  if (TakeText(text, "qemu.PhyMemMode:")) {
    physical_ = text != "0";
    return std::string(kOk);
  }
  return std::string(kUnknown);
}

std::string Stub::Verbose(std::string_view text) {
  if (text == "Cont?") return "vCont;c;C;s;S;r";
  if (TakeText(text, "Cont;")) return ResumeActions(text);
  if (text.starts_with("Kill")) {
    target_.Kill();
    return std::string(kOk);
  }
  return std::string(kUnknown);
}

/// The first action is that of the only thread, unless it names another.
std::string Stub::ResumeActions(std::string_view text) {
  const char action = text.empty() ? 0 : text[0];
  text.remove_prefix(text.empty() ? 0 : 1);
  GuestLinear first, end;
  switch (action) {
    case 'c':
    case 'C':
      return Go({}, false);
    case 's':
    case 'S':
      return Go({}, true);
    case 'r': {
      const auto range = TakeRange(text);
      if (!range) return std::string(kBadRequest);
      waiting_ = true;
      const auto base = target_.ReadState().Segment(Seg::kCs).base;
      first = GuestLinear(static_cast<uint32_t>(range->address) + base);
      end = GuestLinear(static_cast<uint32_t>(range->length) + base);
      target_.Step(first, end);
      return {};
    }
    default:
      return std::string(kBadRequest);
  }
}

std::string Stub::Go(std::string_view text, bool step) {
  if (!text.empty()) {
    const auto address = TakeHex(text);
    if (!address || !text.empty()) return std::string(kBadRequest);
    CpuState state = target_.ReadState();
    state.eip = static_cast<uint32_t>(*address);
    target_.WriteState(state);
  }
  waiting_ = true;
  if (step) {
    target_.Step({}, {});
  } else {
    target_.Continue();
  }
  return {};
}

std::string Stub::ReadRegisters() {
  const CpuState state = target_.ReadState();
  std::vector<uint8_t> bytes(AllRegisterBytes());
  std::span<uint8_t> left = bytes;
  for (unsigned i = 0; i < RegisterCount(); ++i) {
    ReadRegister(state, i, left.first(RegisterBytes(i)));
    left = left.subspan(RegisterBytes(i));
  }
  return ToHex(bytes);
}

/// Registers that may not change are left as they are.
std::string Stub::WriteRegisters(std::string_view text) {
  const auto bytes = FromHex(text);
  if (!bytes || bytes->empty()) return std::string(kBadRequest);
  CpuState state = target_.ReadState();
  std::span<const uint8_t> left = *bytes;
  for (unsigned i = 0; i < RegisterCount() && left.size() >= RegisterBytes(i); ++i) {
    WriteRegister(state, i, left.first(RegisterBytes(i)));
    left = left.subspan(RegisterBytes(i));
  }
  target_.WriteState(state);
  return std::string(kOk);
}

std::string Stub::ReadOne(std::string_view text) {
  const auto number = TakeHex(text);
  if (!number || !text.empty() || *number >= RegisterCount()) return std::string(kBadRequest);
  std::vector<uint8_t> bytes(RegisterBytes(static_cast<unsigned>(*number)));
  ReadRegister(target_.ReadState(), static_cast<unsigned>(*number), bytes);
  return ToHex(bytes);
}

std::string Stub::WriteOne(std::string_view text) {
  const auto number = TakeHex(text);
  if (!number || !TakeText(text, "=") || *number >= RegisterCount()) return std::string(kBadRequest);
  const auto bytes = FromHex(text);
  if (!bytes || bytes->size() != RegisterBytes(static_cast<unsigned>(*number))) return std::string(kBadRequest);
  CpuState state = target_.ReadState();
  if (!WriteRegister(state, static_cast<unsigned>(*number), *bytes)) return std::string(kReadOnly);
  target_.WriteState(state);
  return std::string(kOk);
}

std::string Stub::ReadMemory(std::string_view text) {
  const auto range = TakeRange(text);
  if (!range || !text.empty()) return std::string(kBadRequest);
  std::vector<uint8_t> bytes(std::min<uint64_t>(range->length, kMostMemory));
  bytes.resize(target_.ReadMemory(range->address, physical_, bytes));
  if (bytes.empty() && range->length) return std::string(kNoMemory);
  return ToHex(bytes);
}

std::string Stub::WriteMemory(std::string_view text, bool binary) {
  const auto range = TakeRange(text);
  if (!range || !TakeText(text, ":")) return std::string(kBadRequest);
  std::optional<std::vector<uint8_t>> bytes;
  if (binary) {
    bytes.emplace(text.begin(), text.end());
  } else {
    bytes = FromHex(text);
  }
  if (!bytes || bytes->size() != range->length) return std::string(kBadRequest);
  return std::string(target_.WriteMemory(range->address, physical_, *bytes) == bytes->size() ? kOk : kNoMemory);
}

/// "type,address,kind"; what may follow (conditions, commands) is not supported, which gdb was not told it were.
std::string Stub::ChangeStop(std::string_view text, bool insert) {
  const auto type = TakeHex(text);
  if (!type || *type >= kStopTypes) return std::string(kUnknown);
  if (!TakeText(text, ",")) return std::string(kBadRequest);
  const auto range = TakeRange(text);
  if (!range || !text.empty()) return std::string(kBadRequest);
  const bool code = *type == kSoftware || *type == kHardware;
  if (!code && (range->length == 0 || range->length > kMostWatched)) return std::string(kBadRequest);
  const Stop stop{static_cast<unsigned>(*type), GuestLinear(static_cast<uint32_t>(range->address)),
                  code ? 1 : static_cast<uint32_t>(range->length)};
  const auto found = std::ranges::find(stops_, stop);
  if (insert == (found != stops_.end())) return std::string(kOk);  // said twice
  if (insert) {
    const auto watches = std::ranges::count_if(stops_, [](const Stop& s) { return s.type >= kWriteWatch; });
    if (stops_.size() >= kMostStops || (!code && watches >= DebugStops::kMostWatches)) return std::string(kTooMany);
    stops_.push_back(stop);
  } else {
    stops_.erase(found);
  }
  ApplyStops();
  return std::string(kOk);
}

void Stub::ApplyStops() {
  DebugStops stops;
  watches_.clear();
  for (const Stop& stop : stops_) {
    if (stop.type == kSoftware || stop.type == kHardware) {
      stops.code.push_back(stop.address);
      continue;
    }
    watches_.push_back(stop);
    stops.data.push_back({.first = stop.address,
                          .bytes = stop.bytes,
                          .reads = stop.type != kWriteWatch,
                          .writes = stop.type != kReadWatch});
  }
  target_.SetStops(stops);
}

std::string Stub::Monitor(std::string_view text) {
  const auto bytes = FromHex(text);
  if (!bytes) return std::string(kBadRequest);
  const std::string printed = target_.Monitor(std::string(bytes->begin(), bytes->end()));
  if (printed.empty()) return std::string(kOk);
  const size_t most = std::min(printed.size(), kMostMemory);
  return ToHex({reinterpret_cast<const uint8_t*>(printed.data()), most});
}

std::string Stub::StopReply(const DebugEvent& event) const {
  const unsigned signal = event.kind == DebugEvent::Kind::kPause ? kSignalInterrupt : kSignalTrap;
  std::string reply = fmt::format("T{:02x}thread:01;", signal);
  if (event.kind == DebugEvent::Kind::kWatch && event.watch < watches_.size()) {
    const Stop& hit = watches_[event.watch];
    const std::string_view kind = hit.type == kReadWatch ? "rwatch" : hit.type == kAccessWatch ? "awatch" : "watch";
    reply += fmt::format("{}:{:x};", kind, hit.address.value);
  }
  if (event.kind == DebugEvent::Kind::kBreakpoint && names_reasons_) reply += BreakReason();
  return reply;
}

std::string Stub::BreakReason() const {
  const CpuState state = target_.ReadState();
  const GuestLinear at(state.Segment(Seg::kCs).base + state.eip);
  const bool software = std::ranges::find(stops_, Stop{kSoftware, at, 1}) != stops_.end();
  return software ? "swbreak:;" : "hwbreak:;";
}

}  // namespace ring3::gdb
