// The board: port accesses, time, input from outside and interrupt acknowledgement in any order, for one chip or for
// all. Two boards that are told the same must answer the same.
#include <iterator>
#include <vector>

#include "devices/board.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

struct Ports {
  uint16_t first;
  unsigned count;
};
/// One line for each chip; an input may keep to one of them.
constexpr Ports kChips[] = {{layout::kMasterPicPort, layout::kPicPortCount},
                            {layout::kSlavePicPort, layout::kPicPortCount},
                            {layout::kElcrPort, layout::kElcrPortCount},
                            {layout::kPitPort, layout::kPitPortCount},
                            {layout::kSystemControlBPort, 1},
                            {layout::kKeyboardDataPort, 1},
                            {layout::kKeyboardCommandPort, 1},
                            {layout::kSystemControlAPort, 1},
                            {layout::kRtcPort, layout::kRtcPortCount},
                            {layout::kFpuErrorPort, layout::kFpuErrorPortCount},
                            {layout::kSerial1Port, layout::kSerialPortCount},
                            {layout::kPciAddressPort, layout::kPciAddressPortCount},
                            {layout::kPciDataPort, layout::kPciDataPortCount},
                            {layout::kSmiCommandPort, layout::kSmiCommandPortCount},
                            {layout::kPmBasePort, layout::kPmPortCount},
                            {layout::kDebugExitPort, layout::kDebugExitPortCount},
                            {layout::kDebugConsolePort, 1},
                            {layout::kPostPort, 1}};

/// A board and a record of everything it said.
class Subject {
 public:
  explicit Subject(bool pci)
      : board_(clock_,
               {.ram_bytes = 64u << 20,
                .serial = {[this](std::span<const uint8_t> bytes) { Note(bytes.size()); }},
                .debug_console = [this](std::span<const uint8_t> bytes) { Note(bytes.size()); },
                .debug_exit = DebugExitPorts{},
                .pci_host_bridge = pci,
                .start_unix_ns = 1'700'000'000ull * kNanosecondsPerSecond},
               {.a20 = [this](bool enabled) { a20 = enabled; },
                .reset = [this] { Note(1); },
                .power_off = [this] { Note(2); },
                .debug_exit = [this](int code) { Note(static_cast<uint64_t>(code)); },
                .interrupt_changed = [this] { Note(3); }}) {}

  void Step(Input& input, const Ports* only) {
    switch (input.Below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        return Write(PortOf(input, only), SizeOf(input), input);
      case 6:
      case 7:
      case 8:
        return Read(PortOf(input, only), SizeOf(input));
      case 9:
        return Advance(input.Take<uint16_t>() * 1'000ull);
      case 10:
        return Advance(uint64_t{1} << input.Below(44));
      case 11:
        if (const auto next = board_.NextDeadline()) Advance(*next > clock_.NowNs() ? *next - clock_.NowNs() : 0);
        return;
      case 12:
        if (board_.Pics().HasInterrupt()) Note(board_.Pics().Acknowledge());
        return;
      case 13:
        return Outside(input);
      case 14:
        board_.FpuError().Assert();
        return;
      default:
        if (input.Byte() == 0) board_.Reset();
        return;
    }
  }

  const std::vector<uint64_t>& Record() const { return record_; }

 private:
  void Note(uint64_t what) { record_.push_back(what); }

  static uint16_t PortOf(Input& input, const Ports* only) {
    const Ports& chip = only ? *only : kChips[input.Below(std::size(kChips))];
    return static_cast<uint16_t>(chip.first + input.Below(chip.count));
  }
  static unsigned SizeOf(Input& input) {
    constexpr unsigned kSizes[] = {1, 1, 1, 2, 4, 1, 1, 4};
    return kSizes[input.Below(8)];
  }

  void Write(uint16_t port, unsigned size, Input& input) {
    uint32_t value = 0;
    const auto bytes = input.TakeBytes(size);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<uint8_t*>(&value));
    board_.Ports().Write(port, size, value);
  }

  void Read(uint16_t port, unsigned size) {
    const uint32_t value = board_.Ports().Read(port, size);
    Require(size == 4 || value >> (8 * size) == 0, "a port gives more bits than were asked for");
    if (port == layout::kSystemControlAPort && size == 1) {
      Require(((value & 2) != 0) == a20, "port 92h and the A20 line differ");
    }
    Note(value);
  }

  void Advance(uint64_t ns) {
    clock_.Advance(ns);
    board_.RunTimers();
    const auto next = board_.NextDeadline();
    Require(!next || *next > clock_.NowNs(), "a timer stays due");
  }

  void Outside(Input& input) {
    switch (input.Below(6)) {
      case 0:
        if (board_.Serial().CanReceive()) board_.Serial().Receive(input.Byte());
        return;
      case 1:
        return board_.Serial().Receive(input.Byte());
      case 2:
        return board_.Serial().ReceiveBreak();
      case 3:
        return board_.Keyboard().Key(input.Byte() & 0x7F, input.Bit(), input.Bit());
      case 4:
        return board_.Keyboard().PauseKey();
      default: {
        const int dx = input.Take<int16_t>(), dy = input.Take<int16_t>(), wheel = input.Take<int8_t>();
        return board_.Mouse().Move(dx, dy, wheel, input.Byte());
      }
    }
  }

  ManualClock clock_{1'000'000'000};
  std::vector<uint64_t> record_;
  bool a20 = true;
  Board board_;
};

}  // namespace

void Run(Input input) {
  const unsigned chip = input.Below(2 * std::size(kChips));
  const Ports* only = chip < std::size(kChips) ? &kChips[chip] : nullptr;
  const bool pci = input.Bit();
  Subject one(pci), other(pci);
  Input again = input;
  while (!input.Empty()) one.Step(input, only);
  while (!again.Empty()) other.Step(again, only);
  Require(one.Record() == other.Record(), "two boards that were told the same differ");
}

}  // namespace ring3::fuzz
