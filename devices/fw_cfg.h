// The firmware configuration device: items that firmware reads by number, some of them files with names. (QEMU,
// docs/specs/fw_cfg; SeaBIOS expects it.)
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "devices/ports_of.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

class FwCfg {
 public:
  using Content = std::vector<uint8_t>;

  // Items with fixed numbers.
  static constexpr uint16_t kRamBytes = 0x03;    // 8 bytes
  static constexpr uint16_t kCpuCount = 0x05;    // 2 bytes
  static constexpr uint16_t kNoGraphics = 0x04;  // 2 bytes: firmware talks to the serial port
  static constexpr uint16_t kBootMenu = 0x0E;    // 2 bytes
  static constexpr uint16_t kMostCpus = 0x0F;    // 2 bytes

  /// Reads by DMA go to `memory`, which outlives this.
  explicit FwCfg(PhysicalMemory& memory);

  /// Sets the item `key` (not a file).
  void SetItem(uint16_t key, Content content);
  /// Little-endian, `bytes` 1 to 8 long.
  void SetNumber(uint16_t key, uint64_t value, unsigned bytes);
  /// Adds a file, up to 55 characters of name; or replaces it.
  void SetFile(const std::string& name, Content content);
  /// The same; `refresh` is asked for the content, which keeps its length, each time the guest selects the file.
  void SetFile(const std::string& name, std::function<Content()> refresh);

  /// Two ports: the selector and the data register.
  PortDevice& Registers() { return registers_; }
  /// Eight ports: the address of a DMA command, big-endian; writing the low half starts it.
  PortDevice& Dma() { return dma_; }
  void Reset();

 private:
  struct Item {
    Content content;
    std::function<Content()> refresh;
  };

  uint32_t ReadRegister(uint16_t port, unsigned size);
  void WriteRegister(uint16_t port, unsigned size, uint32_t value);
  uint32_t ReadDma(uint16_t port, unsigned size);
  void WriteDma(uint16_t port, unsigned size, uint32_t value);
  Item& AddFile(const std::string& name);
  void UpdateDirectory();
  void Select(uint16_t key);
  uint8_t ReadByte();
  void RunCommand(GuestPhysical address);
  bool Execute(uint32_t control, uint32_t length, uint64_t address);
  void Transfer(uint32_t length, uint64_t address);

  PhysicalMemory& memory_;
  std::map<uint16_t, Item> items_;
  std::map<std::string, uint16_t> files_;
  PortsOf<FwCfg, &FwCfg::ReadRegister, &FwCfg::WriteRegister> registers_{*this};
  PortsOf<FwCfg, &FwCfg::ReadDma, &FwCfg::WriteDma> dma_{*this};
  uint16_t selected_ = 0;
  uint64_t offset_ = 0;
  uint32_t dma_address_high_ = 0;
};

}  // namespace ring3
