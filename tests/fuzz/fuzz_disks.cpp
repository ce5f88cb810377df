// Disk controllers: accesses of any width to the ports of IDE, bus master, floppy and DMA, any memory behind them,
// media that come and go. Two machines that are told the same must answer the same.
#include <vector>

#include "tests/fuzz/input.h"
#include "tests/storage/storage_machine.h"

namespace ring3::fuzz {
namespace {

struct Ports {
  uint16_t first;
  unsigned count;
};
constexpr Ports kPorts[] = {{0x1F0, 8}, {0x3F6, 1}, {0x170, 8}, {0x376, 1}, {0xC000, 16},
                            {0x3F0, 6}, {0x3F7, 1}, {0x00, 16}, {0xC0, 32}, {0x81, 15}};
constexpr uint32_t kMemoryMask = 0x3FFFF;

class Subject {
 public:
  void Step(Input& input) {
    const Ports& ports = kPorts[input.Below(10)];
    const auto port = static_cast<uint16_t>(ports.first + input.Below(ports.count));
    const unsigned size = 1u << input.Below(3);
    switch (input.Below(16)) {
      case 0:
        return machine_.mailbox.Run();
      case 1:
        return Fill(input);
      case 2:
        return machine_.Command(input.Byte(), input.Take<uint32_t>() & 0x1FFFF, input.Byte(),
                                input.Bit() ? 0x1F0 : 0x170);
      case 3: {
        const auto packet = input.TakeBytes(12);
        machine_.Packet({packet.begin(), packet.end()}, input.Take<uint16_t>());
        return;
      }
      case 4: {
        const auto command = input.TakeBytes(9);
        return machine_.Fdc({command.begin(), command.end()});
      }
      case 5:
        return Words(input);
      case 6:
        return Media(input);
      case 7:
        if (input.Byte() == 0) machine_.ide.Reset();
        return;
      case 8:
      case 9:
      case 10:
      case 11:
        record_.push_back(machine_.bus.Read(port, size));
        return;
      default:
        return machine_.bus.Write(port, size, input.Take<uint32_t>());
    }
  }
  const std::vector<uint32_t>& Record() const { return record_; }

 private:
  void Fill(Input& input) {
    const uint32_t at = input.Take<uint32_t>() & kMemoryMask;
    machine_.memory.Write(GuestPhysical(at), input.TakeBytes(input.Below(64)));
  }
  void Words(Input& input) {
    const uint16_t base = input.Bit() ? 0x1F0 : 0x170;
    const unsigned count = input.Below(300);
    for (unsigned i = 0; i < count; ++i) {
      input.Bit() ? machine_.bus.Write(base, 2, i) : record_.push_back(machine_.bus.Read(base, 2));
    }
  }
  void Media(Input& input) {
    switch (input.Below(4)) {
      case 0:
        machine_.cd.Eject(input.Bit());
        return;
      case 1:
        return machine_.cd.Insert(std::make_unique<MemoryDisk>(machine_.disc, machine_.mailbox));
      case 2:
        return machine_.floppy.Drive(0).Eject();
      default:
        return machine_.floppy.Drive(0).Insert(std::make_unique<MemoryDisk>(machine_.diskette, machine_.mailbox));
    }
  }

  StorageMachine machine_{true};
  std::vector<uint32_t> record_;
};

}  // namespace

void Run(Input input) {
  Subject one, other;
  Input again = input;
  while (!input.Empty()) one.Step(input);
  while (!again.Empty()) other.Step(again);
  Require(one.Record() == other.Record(), "two machines that were told the same differ");
}

}  // namespace ring3::fuzz
